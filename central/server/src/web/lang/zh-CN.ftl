# What the page says in Chinese. `en.ftl` has the same keys with the same variables.
#
# The words of the shop, one for each thing and everywhere the same:
#   garment 商品（单件）   style 款式   colour 颜色   size 尺码   category 品类   stock 库存
#   picked up 拿起   put back 放回   carried in 带入试衣间   tried on 试穿   carried out 带出试衣间   sold 售出
#   return 退货   sales 销售   receipt 小票   till 收银台   price 吊牌价
#   store 门店   zone 区域   rail 挂杆   shelf 货架   fitting room 试衣间   visit 一次进店试衣（count word 次）
#   conversion rate 转化率   share 占比   median 中位数   95 % interval 95% 置信区间   compared with 较
#   reader 读写器   gateway 网关   listening 工作中   silent 无响应   absent 未连接   off 已按计划关闭
#   not measured 未测量   closed 未营业   coverage 数据覆盖   gap 数据缺口   merchandiser 商品企划
# A number and Chinese writing stand together without a space, a Latin word and Chinese writing with one.

## Numbers

percent = { $value }%
percents = { $low }%–{ $high }%

## Days

date = { $year }年{ $month }{ $day }日
day = { $date } { $weekday }
date-short = { $month }{ $day }日
month-of-year = { $year }年{ $month }
period = { $from }至{ $to }
period-in-year = { $year }年{ $first-month }{ $first-day }日至{ $month }{ $day }日
period-in-month = { $year }年{ $month }{ $first-day }日至{ $day }日

weekday-monday = 星期一
weekday-tuesday = 星期二
weekday-wednesday = 星期三
weekday-thursday = 星期四
weekday-friday = 星期五
weekday-saturday = 星期六
weekday-sunday = 星期日

weekday-short-monday = 周一
weekday-short-tuesday = 周二
weekday-short-wednesday = 周三
weekday-short-thursday = 周四
weekday-short-friday = 周五
weekday-short-saturday = 周六
weekday-short-sunday = 周日

month-1 = 1月
month-2 = 2月
month-3 = 3月
month-4 = 4月
month-5 = 5月
month-6 = 6月
month-7 = 7月
month-8 = 8月
month-9 = 9月
month-10 = 10月
month-11 = 11月
month-12 = 12月

month-short-1 = 1月
month-short-2 = 2月
month-short-3 = 3月
month-short-4 = 4月
month-short-5 = 5月
month-short-6 = 6月
month-short-7 = 7月
month-short-8 = 8月
month-short-9 = 9月
month-short-10 = 10月
month-short-11 = 11月
month-short-12 = 12月

## Spans of time

seconds = { $s }秒
minutes-seconds = { $min }分{ $s }秒
minutes = { $min }分钟
hours-minutes = { $h }小时{ $min }分

just-now = 刚刚
seconds-ago = { $n }秒前
minutes-ago = { $n }分钟前
hours-ago = { $n }小时前
days-ago = { $n }天前
