# What the page says in Chinese. `en.ftl` has the same keys with the same variables.
#
# The words of the shop, one for each thing and everywhere the same:
#   garment 商品（单件）   style 款式   colour 颜色   size 尺码   category 品类   stock 库存
#   picked up 拿起   put back 放回   carried in 带入试衣间   tried on 试穿   carried out 带出试衣间   sold 售出
#   return 退货   sales 销售   receipt 小票   till 收银台   price 吊牌价
#   store 门店   zone 区域   rail 挂杆   shelf 货架   fitting room 试衣间   visit 一次试衣（count word 次）
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

## The filter

skip = 跳到数据
languages = 语言
filter = 筛选
filter-store = 门店
filter-category = 品类
filter-colour = 颜色
filter-size = 尺码
filter-period = 时段
filter-from = 从
filter-to = 到
filter-compare = 对比
period-today = 今天
period-yesterday = 昨天
period-week = 最近7天
period-four-weeks = 最近28天
period-custom = 自选日期
compare-previous = 上一时段
compare-year = 去年同星期
compare-none = 不对比
compare-store = { $store }
all = 全部
show = 查看
all-stores = 全部门店
some-stores = { $count }家门店
day-open = { $day }，营业{ $hours }
day-closed = { $day }，未营业
against = 对比{ $stretch }
against-store = 对比{ $store }
crumbs = 当前位置
crumb-size = 尺码{ $size }

## Sums

last = 最近一次事件：{ $ago }
last-none = 尚无事件
made = 汇总于{ $ago }
tiles = 总计
tile-tried-on = 试穿
tile-tried-on-visits = 共{ $count }次试衣
tile-picked-up = 拿起
tile-pick-to-try = 拿起后试穿
tile-try-to-buy = 试穿后购买
tile-put-back = 拿起后放回
tile-stay = 试衣间停留（中位数）
tile-stay-p90 = 九成不超过{ $time }
tile-none-picked = 没有商品被拿起
no-tills = 没有收银数据
tile-none-tried = 试穿结果尚未确定
of-whole = { $whole }中的{ $part }
interval = 95% 置信区间{ $percents }
change-up = ▲ 比{ $before }多{ $percent }%
change-down = ▼ 比{ $before }少{ $percent }%
change-same = 与之前持平：{ $before }
change-from = 之前：{ $before }
change-unmeasured = 之前：未测量
change-partly = 之前：{ $before }（测量天数：之前{ $then }，现在{ $now }）
change-share-up = ▲ { $points }个百分点，之前{ $before }
change-share-down = ▼ { $points }个百分点，之前{ $before }
change-share-same = 无明显变化，之前{ $before }
note-unknown = { $name }：商品目录中没有“{ $value }”，因此没有计数。
note-unspoken = 本页不支持语言“{ $lang }”。
note-unclocked = { $count }个事件未计入任何一天：其网关尚未校时。
note-unvouched = { $count }个事件的时间没有可靠时钟保证：systemd-timesyncd 未校时。如由其他程序校时（chrony、ntpd、虚拟机管理程序），请在该网关的 agent.toml 的 [clock] 下写 kept = true；否则请让网关能访问时间服务器。

## Sections

as-table = 以表格查看
csv-of = 下载 CSV：
rows-more = 另有{ $count }行在 CSV 文件中
hidden = 不显示
unmeasured = 未测量
closed = 未营业或未测量
section-funnel = 从挂杆到收银台
section-stores = 门店
section-hours = 按小时
section-days = 按天
section-week = 一周各时段
section-styles = 款式：试穿与售出
section-sizes = 尺码
section-zones = 挂杆、货架与试衣间
section-spots = 热门与冷门挂杆
section-pairs = 一起试穿
section-shapes = 顾客在比较什么
section-products = 商品
section-readers = 该时段的读写器与网关
section-quality = 数据可信吗？
stage-picked = 拿起
stage-carried = 带入试衣间
stage-tried = 试穿
stage-bought = 试穿后购买
note-picked-tried = { $percent }（{ $interval }）：拿起的{ $whole }件商品中，{ $part }件随后试穿
note-tried-bought = { $percent }（{ $interval }）：结果已知的{ $whole }次试穿中，{ $part }次购买
finding-nothing = 读写器工作期间没有任何事件。
finding-nothing-tried = 读写器工作期间没有试穿。
finding-nothing-picked = 读写器工作期间没有商品被拿起。
finding-unmeasured = 该时段没有读写器在工作：不知道是否有事件发生。
finding-funnel = 拿起{ $picked }次，试穿{ $tried }次，其中{ $bought }次在两小时内购买。
finding-funnel-some = 拿起{ $picked }次，试穿{ $tried }次。其中{ $known }次的结果已知：{ $bought }次在两小时内购买。
finding-funnel-waiting = 拿起{ $picked }次，试穿{ $tried }次；是否购买，在每次试穿两小时后才知道。
finding-funnel-no-tills = 拿起{ $picked }次，试穿{ $tried }次；没有收银数据，不知道卖出了什么。
finding-hours-tried = { $when }起的一小时试穿最多：{ $count }次。
finding-hours-picked = { $when }起的一小时拿起最多：{ $count }次；没有试穿。
finding-days-tried = { $when }试穿最多：{ $count }次。
finding-days-picked = { $when }拿起最多：{ $count }次；没有试穿。
finding-week-tried = 试穿最多的是{ $day }{ $hour }起的一小时。
finding-week-picked = 拿起最多的是{ $day }{ $hour }起的一小时；没有试穿。
finding-one-style = 只有一个款式，无可比较。
finding-no-sales = 没有收银数据：不知道卖出了什么。
finding-seldom-bought = { $style }试穿多而购买少：{ $tried }次试穿中购买{ $bought }次。
finding-no-style-stands-out = 没有款式在试穿后的购买明显少于其他款式。
finding-size = 尺码{ $size }试穿最多：{ $count }次。
finding-size-missing = 尺码{ $size }有人试穿，但已无库存。
finding-zones = { $hot }最吸引顾客（拿起{ $many }次），{ $cold }最少（{ $few }次）。
finding-one-zone = 拿起都发生在{ $hot }：{ $many }次。
finding-spots = { $hot }的拿起次数是预期的{ $many }倍，{ $cold }只有预期的{ $few }倍。
finding-spots-hot = { $hot }的拿起次数是预期的{ $many }倍；没有明显低于预期的挂杆。
finding-spots-cold = { $cold }的拿起次数只有预期的{ $few }倍；没有明显高于预期的挂杆。
finding-spots-even = 按所挂商品与时段，没有挂杆明显高于或低于预期。
finding-spots-few = 计数太少，无法判断哪些差异超出偶然：没有挂杆被称为热门或冷门。
finding-spots-untouched = 有{ $count }个挂杆的读写器在工作，但无人碰过其上商品。
finding-spots-unknown = 无法比较挂杆：至少需要三个挂杆，且营业时有读写器在工作。
ratio-of = 拿起{ $count }次，预期{ $expected }次
rate-of = { $hours }件·小时中{ $count }次
axis-expected = 预期拿起次数
axis-of-expected = 为预期的倍数
funnel-wide = 若仅偶然波动，998/1000落在此带内
funnel-narrow = 若仅偶然波动，95/100落在此带内
verdict-hot = ▲ 热门
verdict-cold = ▼ 冷门
verdict-even = 符合预期
verdict-unknown = 未测量
verdict-untouched = 无人碰过
no-product = 无对应商品的标签
known-floor = 卖场盘点
known-stock = 盘点，含库房
known-seen = 按实际读到（至少）
finding-pair = 在{ $weeks }个完整门店周中，{ $first }与{ $second }在{ $count }次试衣中一起试穿，多于偶然。
finding-pairs-by-chance = 在{ $weeks }个完整门店周中，没有两个款式一起试穿的次数多于偶然。
finding-no-pair = 在{ $weeks }个完整门店周中，没有两个款式在{ $count }次或更多试衣中一起计入；次数更少的配对不显示。
finding-no-pair-of-these = 在{ $weeks }个完整门店周中，这些商品没有与其他款式在{ $count }次或更多试衣中一起计入；次数更少的配对不显示。
visits-rounded = 各门店每周的次数随机舍入为{ $base }的倍数，小数字舍入为0或{ $base }，使任何顾客都无法被辨认；平均而言数字无偏。
finding-no-weeks = 顾客比较了什么，只按已结束的完整周（周一至周日）给出：须在所选日期内结束，且至少有{ $least }次试衣。所选日期内没有这样的周。
finding-lost = 在完整周内对同一款式尺码的{ $whole }次比较中，有{ $part }次相邻尺码已售完；一次试衣可比较多个款式的尺码。数字经随机舍入，使任何顾客都无法被辨认。
finding-stores = { $store }试穿最多：{ $count }次。
finding-shapes = 在{ $weeks }个完整门店周（周一至周日）中，顾客是在比较同一款式的尺码，还是比较不同款式。各门店每周的次数随机舍入为{ $base }的倍数，小数字舍入为0或{ $base }，使任何顾客都无法被辨认；平均而言数字无偏。
finding-shapes-all-goods = 顾客比较了什么，只按全部商品给出：请取消商品筛选。
finding-readers-all = 所有网关在至少九成的营业时间内工作。
finding-readers-silent = { $count }个网关的工作时间不足营业时间的九成：{ $names }。其余时间发生了什么，不得而知。
finding-products = 每个尺码和颜色，按试穿次数排列。
axis-tried = 试穿
axis-sold = 售出
corner-few-few = 试穿少，售出少
corner-few-many = 不试也卖
corner-many-few = 试多卖少：版型或价格？
corner-many-many = 试多卖多
point-bought = { $whole }次试穿中有{ $part }次之后售出该款式
shape-one-one = 一个款式，一个尺码
shape-one-many = 一个款式，多个尺码
shape-many-one = 多个款式，各一个尺码
shape-many-many = 多个款式，并比较尺码

## Columns

col-stretch = 时段
stretch-asked = 所选
stretch-compared = 对比
col-visits = 试衣次数
col-picked-up = 拿起
col-put-down = 放下
col-carried-in = 带入试衣间
col-tried-on = 试穿
col-put-back = 拿起后放回
col-pick-to-try = 拿起后试穿
col-try-to-buy = 试穿后购买
col-try-to-buy-style = 试穿后购买同款
col-left-in-booth = 遗留在试衣间
col-sold = 售出
col-returned = 退货
col-stay-median = 停留中位数
col-stay-p90 = 九成停留不超过
col-listened-percent = 读写器工作占比，%
col-reported-percent = 网关上报时间占比，%
col-delay-p95 = 19/20的事件到达用时
col-day = 日期
col-store = 门店
col-hour = 小时起
col-iso-weekday = 星期（1为星期一）
col-clock = 小时
col-name = 名称
col-style = 款式
col-size-hunt = 试穿多个尺码
col-verdict = 热门或冷门
col-of-expected = 与预期之比
col-pick-up-rate = 每100件每小时拿起次数
col-garments = 同时所见件数（至少）
col-listened-hours = 营业中工作小时数
col-on-show = 陈列件数
col-on-show-known = 件数来源
col-lost-size = 相邻尺码已售完
col-lost-visits = 遇其售完的试衣次数
col-colour = 颜色
col-size = 尺码
col-price = 吊牌价
col-gtin = GTIN
col-zone = 区域
col-loyalty-scans = 会员码扫描
col-product-scans = 商品码扫描
col-first = 款式
col-second = 一起试穿
col-support = 占全部试衣次数
col-confidence = 占前者试衣次数
col-lift = 相对随机的倍数
col-beyond-chance = 超出偶然
beyond-more = 更多
beyond-less = 更少
beyond-no = 否
col-shape = 试衣方式
col-stock = 库存

## Quality

quality-unknown = 该时段门店未营业。
no-broker = 中心与消息代理的连接已中断{ $minutes }分钟：此后门店发生的尚未计入，无论下文如何显示。
no-storing = 中心目前无法存储收到的数据：正在发生的尚未计入，无论下文如何显示。原因见 /health。
quality-listened = 读写器在{ $percent }的营业时间内工作。
quality-silent = 读写器在{ $percent }的营业时间内工作；现有{ $count }个网关无响应：数字低可能是没有读到，而不是没有人感兴趣。
freshness = 20个事件中有19个在发生后{ $delay }内到达，再过一秒即显示在本页。网关报告的时间占营业时间的{ $percent }。
state-listening = 工作中
state-silent = 无响应
state-absent = 未连接
state-off = 已按计划关闭
state-unknown = 未上报
online = 在线
offline = 离线
records-nothing = 无法记录事件：
spool-full = 缓存已用{ $percent }%
col-reader = 读写器
col-day-strip = 当天0点至24点
col-gateway = 网关（最近上报）
col-gateway-name = 网关
col-silent-hours = 无响应小时数
col-absent-hours = 未连接小时数
col-off-hours = 按计划关闭小时数
col-untold-hours = 未上报小时数
col-state = 状态
col-waiting = 待传事件
col-lost = 丢失事件
col-readers = 读写器
col-agent = 代理版本
complete = 完整：没有丢失事件，所有消息均已读取，商品目录没有错误行。
gaps = 缺失事件：{ $events }个，共{ $gaps }处缺口
gaps-note = “lost”：网关被迫丢弃。“unexplained”：网关和本数据库都没有，例如恢复备份之后。
quarantine = 无法使用的消息：{ $count }条
unopened-sealed = 等待密钥 { $key } 的会员码：{ $count }个。带此密钥启动 central 后即可打开。
unopened-broken = 密钥 { $key } 无法打开的会员码：{ $count }个。
catalogue-broken = 未采用的商品目录错误行：{ $count }行
strangers = 以下门店发送事件，但不在门店文件中：{ $stores }。
how = 如何计数
how-counted = 一件商品在一次进入试衣间中无论穿几次，都计为一次试穿。被撤回的事件不计。迟到的事件计入其发生的当天。
how-outcome = “试穿后购买”指两小时内售出同一商品；最近两小时的试穿尚未计入。“放回”指15分钟内放下且其间没有试穿。“遗留在试衣间”指两小时内既未售出也未在卖场再次出现。
how-spots = 一个挂杆的预期拿起次数，是全店同类商品在每周相同时段、读写器工作期间的拿起率，乘以该挂杆上的件数；一件商品从首次被拿放之日至末次之日计为挂在那里，开门与打烊所在的不完整小时不计。差异超出偶然才称为热门或冷门；所有被如此称呼的挂杆中，出于偶然的至多约二十分之一。偶然的大小由各挂杆的计数在小时之间和日子之间的波动估计。没人碰过的商品不知道是否挂在那里：未盘点之处，拿起率为上限。
how-visits = 单次试衣中比较了什么，给出时使任何顾客都无法被辨认：配对、尺码与款式的比较只按门店已结束的完整周、全部商品给出，一周的每个数字都随机舍入为相邻的两个5的倍数之一，小数字舍入为0或5。平均而言等于真实数字，区间相应加宽。更长时间与多家门店是这些数字之和。配对的预期次数，是假定在每家门店每周中两个款式互不相关时的次数；只显示20次或更多的配对，被称为多于或少于偶然的配对中，出于偶然的约占二十分之一。按商品筛选时不统计试衣次数。
how-interval = 区间均为 95%：比例用威尔逊区间，拿起率与预期倍数用 Byar 区间，并按各挂杆计数超出偶然的波动放宽。差值的区间不含0时，才说比率有变化。

## Errors

no-page = 无法显示此页
show-week = 查看最近7天

## 登录

sign-in = 登录
sign-in-name = 用户名
sign-in-password = 密码
sign-in-help = 用户名和密码由贵公司负责 Hangtag 的人员提供。
sign-in-failed = 用户名或密码不正确。
sign-in-wait = 尝试次数过多，请在 { $minutes } 分钟后重试。
sign-in-form = 页面打开时间过长，或该表单来自其他网站。请重试。
sign-out = 退出登录
note-open = 目前无需登录：尚未添加任何用户，且只有本机可以打开此页面。可用“hangtag-central user add”添加用户。
refused-role = 您的角色无权查看此页面。Hangtag 管理员可以更改权限。
refused-no-role = 您的身份是 { $name }，但在此没有角色。请联系贵公司的登录管理人员。
refused-often = 请求过于频繁，请在 { $seconds } 秒后重试。
refused-proxy = 请通过贵公司的代理服务器打开此页面，不要直接访问。
refused-host = 在不要求登录的情况下，只能在运行本程序的电脑上打开此页面。
refused-database = 数据库暂时无法使用，因此无法登录。请一分钟后重试。
