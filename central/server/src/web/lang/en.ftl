# What the page says in English. `zh-CN.ftl` has the same keys with the same variables.

## Numbers

percent = { $value } %
percents = { $low }–{ $high } %

## Days

date = { $day } { $month } { $year }
day = { $weekday }, { $date }
date-short = { $day } { $month }
month-of-year = { $month } { $year }
period = { $from } – { $to }
period-in-year = { $first-day } { $first-month } – { $day } { $month } { $year }
period-in-month = { $first-day }–{ $day } { $month } { $year }

weekday-monday = Monday
weekday-tuesday = Tuesday
weekday-wednesday = Wednesday
weekday-thursday = Thursday
weekday-friday = Friday
weekday-saturday = Saturday
weekday-sunday = Sunday

weekday-short-monday = Mon
weekday-short-tuesday = Tue
weekday-short-wednesday = Wed
weekday-short-thursday = Thu
weekday-short-friday = Fri
weekday-short-saturday = Sat
weekday-short-sunday = Sun

month-1 = January
month-2 = February
month-3 = March
month-4 = April
month-5 = May
month-6 = June
month-7 = July
month-8 = August
month-9 = September
month-10 = October
month-11 = November
month-12 = December

month-short-1 = Jan
month-short-2 = Feb
month-short-3 = Mar
month-short-4 = Apr
month-short-5 = May
month-short-6 = Jun
month-short-7 = Jul
month-short-8 = Aug
month-short-9 = Sep
month-short-10 = Oct
month-short-11 = Nov
month-short-12 = Dec

## Spans of time

seconds = { $s } s
minutes-seconds = { $min } min { $s } s
minutes = { $min } min
hours-minutes = { $h } h { $min } min

just-now = just now
seconds-ago = { $n } s ago
minutes-ago = { $n } min ago
hours-ago = { $n } h ago
days-ago = { $n } { $n ->
    [one] day
   *[other] days
  } ago
