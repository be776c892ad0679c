# What the page says in English. `zh-CN.ftl` has the same keys with the same variables.

## Numbers

percent = { $value } %
percents = { $low }–{ $high } %

## Days

date = { $day } { $month } { $year }
day = { $weekday }, { $date }
date-short = { $day } { $month }
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

## The filter

skip = Skip to the numbers
languages = Languages
filter = Filter
filter-store = Stores
filter-category = Category
filter-colour = Colour
filter-size = Size
filter-period = Period
filter-from = from
filter-to = to
filter-compare = Compare with
period-today = Today
period-yesterday = Yesterday
period-week = Last 7 days
period-four-weeks = Last 28 days
period-custom = From – to
compare-previous = the days before
compare-year = same weekdays a year before
compare-none = nothing
compare-store = { $store }
all = all
show = Show
all-stores = All stores
some-stores = { $count } { $count ->
    [one] store
   *[other] stores
  }
day-open = { $day }, open { $hours }
day-closed = { $day }, closed
against = compared with { $stretch }
against-store = compared with { $store }
crumbs = You are here
crumb-size = Size { $size }

## Sums

last = Last event { $ago }
last-none = No event yet
made = Added up { $ago }
tiles = Sums
tile-tried-on = Tried on
tile-tried-on-visits = in { $count } { $count ->
    [one] visit
   *[other] visits
  } to a fitting room
tile-picked-up = Picked up
tile-pick-to-try = Picked up, then tried on
tile-try-to-buy = Tried on, then bought
tile-put-back = Picked up and put back
tile-stay = Stay in a fitting room, median
tile-stay-p90 = 9 of 10 no longer than { $time }
tile-none-picked = nothing was picked up
no-tills = no till has told of a sale
tile-none-tried = no try-on has an outcome yet
of-whole = { $part } of { $whole }
interval = 95 % interval { $percents }
change-up = ▲ { $percent } % more than { $before }
change-down = ▼ { $percent } % less than { $before }
change-same = as many as before: { $before }
change-from = before: { $before }
change-unmeasured = before: not measured
change-partly = before: { $before }; days measured: { $then } then, { $now } now
change-share-up = ▲ { $points } points, was { $before }
change-share-down = ▼ { $points } points, was { $before }
change-share-same = no clear change, was { $before }
note-unknown = { $name }: the catalogue has no “{ $value }”, so nothing is counted.
note-unspoken = This page does not speak “{ $lang }”.
note-unclocked = { $count } { $count ->
    [one] event is
   *[other] events are
  } not counted on any day: their gateway has not seen a clock yet.
note-unvouched = { $count } { $count ->
    [one] event is
   *[other] events are
  } dated by a clock that nothing vouched for: systemd-timesyncd has not set it. Where something else keeps it right (chrony, ntpd, a hypervisor), write kept = true under [clock] in that gateway’s agent.toml; elsewhere let the gateway reach a time server.

## Sections

as-table = The numbers as a table
csv-of = Download as CSV:
rows-more = { $count } { $count ->
    [one] more row
   *[other] more rows
  } in the CSV file
hidden = withheld
unmeasured = not measured
closed = closed or not measured
section-funnel = From rail to till
section-stores = Stores
section-hours = By hour
section-days = By day
section-week = Hours of the week
section-styles = Styles: tried on against sold
section-sizes = Sizes
section-zones = Rails, shelves and fitting rooms
section-spots = Hot and cold rails
section-pairs = Tried on together
section-shapes = What shoppers compare
section-products = Products
section-readers = Readers and gateways in this time
section-quality = How good are these numbers?
stage-picked = Picked up
stage-carried = Carried into a fitting room
stage-tried = Tried on
stage-bought = Bought after trying
note-picked-tried = { $percent } ({ $interval }): of { $whole } { $whole ->
    [one] garment
   *[other] garments
  } picked up, { $part } then tried on
note-tried-bought = { $percent } ({ $interval }): of { $whole } { $whole ->
    [one] try-on
   *[other] try-ons
  } with a known outcome, { $part } bought
finding-nothing = Nothing happened while readers listened.
finding-nothing-tried = Nothing was tried on while readers listened.
finding-nothing-picked = Nothing was picked up while readers listened.
finding-unmeasured = No reader listened in this time: whether anything happened is not known.
finding-funnel = { $picked } { $picked ->
    [one] pick-up
   *[other] pick-ups
  }, { $tried } { $tried ->
    [one] try-on
   *[other] try-ons
  }, { $bought } of them bought within two hours.
finding-funnel-some = { $picked } { $picked ->
    [one] pick-up
   *[other] pick-ups
  }, { $tried } { $tried ->
    [one] try-on
   *[other] try-ons
  }. Of { $known } it is known what became of them: { $bought } bought within two hours.
finding-funnel-waiting = { $picked } { $picked ->
    [one] pick-up
   *[other] pick-ups
  }, { $tried } { $tried ->
    [one] try-on
   *[other] try-ons
  }; what was bought is known two hours after each.
finding-funnel-no-tills = { $picked } { $picked ->
    [one] pick-up
   *[other] pick-ups
  }, { $tried } { $tried ->
    [one] try-on
   *[other] try-ons
  }; no till has told what was bought.
finding-hours-tried = Most was tried on in the hour from { $when }: { $count }.
finding-hours-picked = Most was picked up in the hour from { $when }: { $count }; nothing was tried on.
finding-days-tried = Most was tried on on { $when }: { $count }.
finding-days-picked = Most was picked up on { $when }: { $count }; nothing was tried on.
finding-week-tried = Most try-ons fall on { $day } in the hour from { $hour }.
finding-week-picked = Most pick-ups fall on { $day } in the hour from { $hour }; nothing was tried on.
finding-one-style = There is one style only: nothing to compare it with.
finding-no-sales = No till has told of a sale: what was bought is not known.
finding-seldom-bought = { $style } is tried on much and bought seldom: { $bought } of { $tried } { $tried ->
    [one] try-on
   *[other] try-ons
  }.
finding-no-style-stands-out = No style is bought clearly less often after a try-on than the others.
finding-size = Size { $size } is tried on most: { $count } { $count ->
    [one] time
   *[other] times
  }.
finding-size-missing = Size { $size } is tried on, and none is left in stock.
finding-zones = { $hot } draws most hands ({ $many } { $many ->
    [one] pick-up
   *[other] pick-ups
  }), { $cold } fewest ({ $few }).
finding-one-zone = All that was picked up is from { $hot }: { $many } { $many ->
    [one] pick-up
   *[other] pick-ups
  }.
finding-spots = { $hot } draws { $many } times the hands that were to be expected, { $cold } only { $few } times.
finding-spots-hot = { $hot } draws { $many } times the hands that were to be expected; no rail draws clearly fewer.
finding-spots-cold = { $cold } draws only { $few } times the hands that were to be expected; no rail draws clearly more.
finding-spots-even = No rail draws clearly more or fewer hands than its garments and hours would.
finding-spots-few = Too little was counted to tell what is more than chance: no rail is called hot or cold.
finding-spots-untouched = { $count } { $count ->
    [one] rail was
   *[other] rails were
  } listened to, and nobody touched anything there.
finding-spots-unknown = Rails cannot be compared: that takes three of them, and readers that listened while the store was open.
ratio-of = { $count } picked up, { $expected } expected
rate-of = { $count } in { $hours } { $hours ->
    [one] garment hour
   *[other] garment hours
  }
axis-expected = Pick-ups expected
axis-of-expected = Times as many as expected
funnel-wide = chance alone: 998 of 1,000 in here
funnel-narrow = chance alone: 95 of 100 in here
verdict-hot = ▲ hot
verdict-cold = ▼ cold
verdict-even = as expected
verdict-unknown = not measured
verdict-untouched = nobody touched it
no-product = Tags without a product
known-floor = counted on the floor
known-stock = counted, back room included
known-seen = seen, at least
finding-pair = { $first } and { $second } were tried on together in { $count } visits, more than by chance, in { $weeks } { $weeks ->
    [one] whole week
   *[other] whole weeks
  } of stores.
finding-pairs-by-chance = No two styles were tried on together more often than by chance in { $weeks } { $weeks ->
    [one] whole week
   *[other] whole weeks
  } of stores.
finding-no-pair = No two styles were counted together in { $count } visits or more of { $weeks } { $weeks ->
    [one] whole week
   *[other] whole weeks
  } of stores; pairs with fewer are not shown.
finding-no-pair-of-these = None of these goods was counted together with another style in { $count } visits or more of { $weeks } { $weeks ->
    [one] whole week
   *[other] whole weeks
  } of stores; pairs with fewer are not shown.
visits-rounded = Of each store and week the visits are rounded at random to a multiple of { $base }, small numbers to 0 or { $base }, so that no shopper can be found; on average the numbers are right.
finding-no-weeks = What visits compare is told of whole weeks, Monday to Sunday, that are over and ended in the chosen days, with { $least } visits or more: there is none.
finding-lost = In { $part } of { $whole } { $whole ->
    [one] comparison
   *[other] comparisons
  } of a style’s sizes, in whole weeks, a neighbouring size was sold out; a visit may compare those of several styles. The numbers are rounded at random so that no shopper can be found.
finding-stores = { $store } tries on most: { $count }.
finding-shapes = Whether visits compare sizes of one style, or styles, in { $weeks } { $weeks ->
    [one] whole week
   *[other] whole weeks
  } of stores, Monday to Sunday. Of each store and week the visits are rounded at random to a multiple of { $base }, small numbers to 0 or { $base }, so that no shopper can be found; on average the numbers are right.
finding-shapes-all-goods = What visits compare is told of all goods only: take the filter off.
finding-readers-all = Every gateway listened in nine tenths of the opening hours or more.
finding-readers-silent = { $count } { $count ->
    [one] gateway
   *[other] gateways
  } listened in less than nine tenths of the opening hours: { $names }. What happened there otherwise is not known.
finding-products = Every size and colour, the most tried first.
axis-tried = Tried on
axis-sold = Sold
corner-few-few = little tried, little sold
corner-few-many = sells without a try-on
corner-many-few = tried, not sold: fit or price?
corner-many-many = tried and sold
point-bought = { $part } of { $whole } { $whole ->
    [one] try-on
   *[other] try-ons
  } followed by a sale of the style
shape-one-one = One style in one size
shape-one-many = One style in several sizes
shape-many-one = Several styles, one size each
shape-many-many = Several styles, and sizes of one

## Columns

col-stretch = Stretch
stretch-asked = chosen
stretch-compared = compared
col-visits = Visits
col-picked-up = Picked up
col-put-down = Put down
col-carried-in = Carried in
col-tried-on = Tried on
col-put-back = Put back of picked up
col-pick-to-try = Picked, then tried
col-try-to-buy = Tried, then bought
col-try-to-buy-style = Tried, then the style bought
col-left-in-booth = Left in the fitting room
col-sold = Sold
col-returned = Returned
col-stay-median = Median stay
col-stay-p90 = 9 of 10 stay under
col-listened-percent = Readers listened, %
col-reported-percent = Gateways reported, %
col-delay-p95 = 19 of 20 events within
col-day = Day
col-store = Store
col-hour = Hour from
col-iso-weekday = Weekday (1 = Monday)
col-clock = Hour
col-name = Name
col-style = Style
col-size-hunt = Several sizes tried
col-verdict = Hot or cold
col-of-expected = Of what was expected
col-pick-up-rate = Pick-ups an hour of 100 garments
col-garments = Garments seen at a time, at least
col-listened-hours = Open hours listened
col-on-show = Garments on show
col-on-show-known = How that is known
col-lost-size = Neighbouring size sold out
col-lost-visits = Visits that found it sold out
col-colour = Colour
col-size = Size
col-price = Price
col-gtin = GTIN
col-zone = Zone
col-loyalty-scans = Loyalty scans
col-product-scans = Product scans
col-first = Style
col-second = Together with
col-support = Of all visits
col-confidence = Of the first one’s visits
col-lift = Times chance
col-beyond-chance = Beyond chance
beyond-more = more often
beyond-less = less often
beyond-no = no
col-shape = Visit
col-stock = In stock

## Quality

quality-unknown = The stores have not been open in this time.
no-broker = Central has had no connection to the broker for { $minutes } min: what happened in the stores since then is not here yet, whatever is said below.
no-storing = Central cannot store what comes at present: what happens now is not here yet, whatever is said below. /health says why.
quality-listened = Readers listened { $percent } of the opening hours.
quality-silent = Readers listened { $percent } of the opening hours; { $count } { $count ->
    [one] gateway is
   *[other] gateways are
  } silent now: a low count may mean that nobody listened, not that nobody was interested.
freshness = 19 of 20 events were here within { $delay } of happening, and on this page a second later. Gateways reported on { $percent } of the opening hours.
state-listening = listening
state-silent = silent
state-absent = absent
state-off = off by schedule
state-unknown = not reported
online = online
offline = offline
records-nothing = records nothing: cannot keep events:
spool-full = spool { $percent } % full
col-reader = Reader
col-day-strip = The day, from 0 to 24 o’clock
col-gateway = Gateway, latest word
col-gateway-name = Gateway
col-silent-hours = Hours silent
col-absent-hours = Hours absent
col-off-hours = Hours off by schedule
col-untold-hours = Hours not reported
col-state = State
col-waiting = Events waiting
col-lost = Events lost
col-readers = Readers
col-agent = Agent
complete = Complete: no event was lost, every message was read, the catalogue has no broken row.
gaps = Events missing: { $events }, in { $gaps } { $gaps ->
    [one] gap
   *[other] gaps
  }
gaps-note = “lost”: the gateway had to drop them. “unexplained”: neither the gateway nor this database has them, for instance after a restore.
quarantine = Messages that could not be used: { $count }
unopened-sealed = Loyalty codes that wait for key { $key }: { $count }. They are opened when central starts with it.
unopened-broken = Loyalty codes that their key { $key } does not open: { $count }.
catalogue-broken = Broken rows of the catalogue that are left out: { $count }
strangers = These stores send events but are not in the stores file: { $stores }.
how = How this is counted
how-counted = A try-on is one garment in one visit to a fitting room, however often it is put on there. A retracted event does not count. Late events are counted on the day on which they happened.
how-outcome = “Then bought” is a sale of the same product within two hours; try-ons of the last two hours are not in it yet. “Put back” is a pick-up that was put down within 15 minutes and not tried on between. “Left in the fitting room” is what was neither sold nor seen on the floor within two hours.
how-spots = Of a rail as many pick-ups are expected as garments of its categories have in the whole store at the same hours of the week while its reader listened; a garment hangs there from the first day on which it is handled to the last, and hours in which the store opens or closes do not count. It is hot or cold when its distance from that is more than chance, where of all rails that are called so one in twenty may be; how much chance there is, is taken from how the counts of rails vary from hour to hour and from day to day. Garments that nobody touched are not known to hang there: where they were not counted, rates are upper bounds.
how-visits = What single visits compare is told so that no shopper can be found: pairs, sizes and styles compared are told of whole weeks of a store that are over, of all goods, and each number of a week is rounded at random to one of the two multiples of five beside it, small ones to 0 or 5. On average that is the true number; intervals are wider for it. Longer times and several stores are sums of these. A pair is expected as often as if, in each store and week, one style had nothing to do with the other; pairs of 20 visits or more are shown, and of those that are called more or less than chance one in twenty may be chance. Under a filter of goods visits are not counted.
how-interval = Intervals are at 95 %: Wilson’s for shares, Byar’s for rates and for times of what was expected, as much wider as the counts of rails vary more than chance alone would. A share is said to have changed when the interval of the difference does not hold 0.

## Errors

no-page = This page cannot be shown
show-week = Show the last 7 days

## Signing in

sign-in = Sign in
sign-in-name = Name
sign-in-password = Password
sign-in-help = Whoever looks after Hangtag in your company gives you a name and a password.
sign-in-failed = The name or the password is wrong.
sign-in-wait = Too many attempts. Try again in { $minutes ->
    [one] one minute
   *[other] { $minutes } minutes
  }.
sign-in-form = The page was open for too long, or another site sent this form. Please try again.
sign-out = Sign out
note-open = Nobody is asked who they are: no user exists, and only this computer can open the page. “hangtag-central user add” adds a user.
refused-role = Your role does not include this page. An administrator of Hangtag can change that.
refused-no-role = You are known as { $name }, but have no role here. Whoever looks after your company's sign-in can change that.
refused-often = Too many requests. Try again in { $seconds ->
    [one] one second
   *[other] { $seconds } seconds
  }.
refused-proxy = This page is opened through your company's proxy, and not directly.
refused-host = This page can be opened only on the computer on which it runs, as long as nobody is asked who they are.
refused-database = The database cannot be used at the moment, so nobody can be let in. Try again in a minute.
