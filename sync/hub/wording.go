package hub

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"greengate/gate"
	"greengate/gate/passage"
)

// wording is one text in both languages of the operator's page.
type wording struct{ en, zh string }

// worded is a text with figures in both languages.
func worded(en, zh string, figures ...any) wording {
	return wording{fmt.Sprintf(en, figures...), fmt.Sprintf(zh, figures...)}
}

// language of the operator's page.
type language string

// The languages.
const (
	english language = "en"
	chinese language = "zh"
)

// languageCookie holds what somebody chose.
const languageCookie = "language"

func (l language) of(w wording) string {
	if l == chinese {
		return w.zh
	}
	return w.en
}

// languageOf is what somebody chose, else what the browser asks for first.
func languageOf(r *http.Request) language {
	if c, err := r.Cookie(languageCookie); err == nil {
		switch l := language(c.Value); l {
		case english, chinese:
			return l
		}
	}
	if strings.HasPrefix(strings.ToLower(strings.TrimSpace(r.Header.Get("Accept-Language"))), "zh") {
		return chinese
	}
	return english
}

// text is a text of the page by its key; a key that is not there is shown as it
// is, and a test looks for such.
func (l language) text(key string) string {
	if w, ok := pageWords[key]; ok {
		return l.of(w)
	}
	return key
}

// word is a fixed word of the field: a reason, a verdict, a grade, a quality.
// English readers see it as it stands in the journal.
func (l language) word(w any) string {
	s := fmt.Sprint(w)
	if l == chinese {
		return cmp.Or(fieldWords[s], s)
	}
	return s
}

// faults are a gate's fault words.
func (l language) faults(list string) string {
	if list == "" {
		return "–"
	}
	var out []string
	for f := range strings.SplitSeq(list, ",") {
		out = append(out, l.word(f))
	}
	return strings.Join(out, ", ")
}

// span writes a length of time in the largest unit that fills it twice.
func (l language) span(d time.Duration) string {
	if l == english {
		return span(d)
	}
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d 秒", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d 分钟", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d 小时", d/time.Hour)
	}
	return fmt.Sprintf("%d 天", d/(24*time.Hour))
}

// ago says how long ago something was; within a minute it was now, so that a
// page of many gates does not change with every second.
func (l language) ago(now, t time.Time) string {
	switch d := now.Sub(t); {
	case t.IsZero():
		return l.text("never")
	case d < time.Minute:
		return l.text("now")
	case d < 2*time.Minute:
		return l.text("a-minute-ago")
	case l == chinese:
		return l.span(d) + "前"
	default:
		return span(d) + " ago"
	}
}

// alarmWords say what an alarm is and what to do next.
var alarmWords = map[AlarmKind]struct{ name, what, next wording }{
	AlarmFork: {wording{"two histories", "两份历史"},
		wording{"Two devices write this gate's history, or its card was put back in time.", "有两台设备在写同一闸机的记录，或其存储卡被回退。"},
		wording{"Find both devices. Revoke the gate, enrol it anew under another name, and keep the card.", "找出两台设备；吊销该闸机，以新名称重新登记，并保留存储卡。"}},
	AlarmSignature: {wording{"bad signature", "签名不符"},
		wording{"A batch came over its connection that its key did not sign.", "收到一批不是由该闸机密钥签名的记录。"},
		wording{"Look whether two gates share a state folder; replace the identity if nothing explains it.", "检查是否有两台闸机共用状态目录；若无法解释，请更换其身份。"}},
	AlarmLost: {wording{"records lost", "记录丢失"},
		wording{"The gate no longer has some of its records, and says so.", "闸机报告部分记录已不存在。"},
		wording{"Write down which and why; give the journal more room or replace the card, then clear the alarm.", "登记范围和原因；扩大日志空间或更换存储卡，然后清除告警。"}},
	AlarmTombstones: {wording{"unreadable records", "记录不可读"},
		wording{"Records came that cannot be read.", "收到无法读取的记录。"},
		wording{"Fetch the gate's support bundle; look whether its version is newer than the hub's.", "获取闸机的支持包；检查其版本是否比中心新。"}},
	AlarmSilent: {wording{"silent", "失联"},
		wording{"Nothing was heard of the gate for three minutes.", "超过三分钟没有收到闸机的消息。"},
		wording{"Look after its network and its power; it goes on deciding and keeps its records.", "检查网络和电源；闸机仍在工作并保存记录。"}},
	AlarmJournal: {wording{"journal filling", "日志将满"},
		wording{"The gate's journal has little room left.", "闸机日志空间所剩不多。"},
		wording{"See why nothing is taken from it (network, certificate); at its cap it refuses entry or drops the oldest.", "查明为何未能上传（网络、证书）；写满后将拒绝入场或丢弃最旧记录。"}},
	AlarmLists: {wording{"stale lists", "名单过旧"},
		wording{"The gate decides by lists that are not fresh.", "闸机使用的名单不是最新的。"},
		wording{"Look whether the hub publishes and the gate reaches it; else bring the lists on a stick.", "检查中心是否发布、闸机能否连通；否则用 U 盘导入名单。"}},
	AlarmClock: {wording{"clock unset", "时钟未设"},
		wording{"The gate does not know the time, and holds everybody for the guard.", "闸机不知道时间，所有人都需由保安处理。"},
		wording{"Give it a network or set its clock; look after the battery of its clock.", "接通网络或设置时钟；检查时钟电池。"}},
	AlarmRefusals: {wording{"many refusals", "拒绝偏多"},
		wording{"This hour the gate refuses many more than it usually does.", "本小时拒绝数远高于平常。"},
		wording{"Open its day and look at the reasons: a reader, a list, or what happens before the gate.", "查看当日原因：读头、名单，或闸机前的情况。"}},
	AlarmCertificate: {wording{"certificate ends", "证书将到期"},
		wording{"The gate's certificate is near its end.", "闸机证书即将到期。"},
		wording{"Give the gate a new identity before: `gatehub gate add -replace`.", "请在到期前更换身份：`gatehub gate add -replace`。"}},
}

// pageWords are the texts of the page.
var pageWords = map[string]wording{
	"fleet": {"Gates", "闸机"}, "index": {"Index", "指数"}, "close": {"Log out", "退出"}, "skip": {"To the gates", "跳到闸机列表"},
	"published": {"published", "已发布"}, "number": {"no.", "编号"},
	"publish-fails": {"Publishing fails:", "发布失败："}, "offline-keys": {"Waiting for the offline keys:", "等待离线密钥："},
	"revocations-fail": {"Revocation lists are not published:", "吊销名单未发布："},
	"due":              {"Bring the offline keys and publish before:", "请在此日期前用离线密钥发布："},
	"alarms":           {"Alarms", "告警"}, "no-alarm": {"No alarm.", "没有告警。"}, "more-alarms": {"more: all gates with an alarm", "条：查看全部有告警的闸机"},
	"alarm": {"Alarm", "告警"}, "since": {"Since", "开始"}, "what": {"What it is", "情况"}, "next": {"What to do next", "处理办法"},
	"today": {"Today", "今日"}, "admitted": {"admitted today", "今日放行"}, "held": {"held", "待处理"}, "refused": {"refused", "拒绝"},
	"acts": {"acts of guards, buttons, fire", "保安、按钮、消防"}, "codes": {"codes issued", "已发码"}, "this-hour": {"This hour", "本小时"}, "last-hour": {"Last hour", "上一小时"},
	"gate": {"Gate", "闸机"}, "site": {"Site", "地点"}, "state": {"State", "状态"}, "seen": {"Last seen", "最近联系"}, "version": {"Version", "版本"},
	"lists": {"Lists", "名单"}, "clock": {"Clock", "时钟"}, "backlog": {"Backlog", "积压"}, "journal": {"Journal", "日志"}, "faults": {"Faults", "故障"},
	"hour": {"This hour: admitted / held / refused", "本小时：放行 / 待处理 / 拒绝"}, "why": {"Why not", "原因"},
	"filter": {"Name, site or county", "名称、地点或县区"}, "county": {"County", "县区"}, "fault": {"Fault", "故障"}, "any": {"any", "不限"}, "clear": {"Show all", "显示全部"},
	"keys": {"Keys: / to the filter, ↑ ↓ from gate to gate, Page Up and Page Down to other pages, Enter opens a gate’s day.", "按键：/ 到筛选，↑ ↓ 逐台移动，Page Up、Page Down 翻页，Enter 打开当日。"}, "show": {"Show", "显示"}, "all": {"all", "全部"}, "online": {"online", "在线"}, "silent": {"silent", "失联"},
	"never-seen": {"never seen", "从未联系"}, "revoked": {"revoked", "已吊销"}, "to-wipe": {"wipe ordered", "待清除"}, "wiped": {"wiped", "已清除"}, "with-alarm": {"with an alarm", "有告警"},
	"none-match": {"No gate matches.", "没有符合的闸机。"}, "no-gate": {"No gate yet. Make one with", "还没有闸机。添加："},
	"of": {"of", "/"}, "previous": {"Previous", "上一页"}, "following": {"Next", "下一页"}, "sort-up": {"ascending", "升序"}, "sort-down": {"descending", "降序"},
	"reasons": {"Reasons", "原因"}, "reason": {"Reason", "原因"}, "count-today": {"today", "今日"}, "count-hour": {"this hour", "本小时"},
	"nothing": {"Nothing decided yet.", "还没有判定。"}, "status-lists": {"Status lists", "状态名单"}, "list": {"List", "名单"}, "generation": {"Generation", "代次"},
	"issued": {"Published", "发布时间"}, "green": {"Green", "绿"}, "yellow": {"Yellow", "黄"}, "red": {"Red", "红"}, "void": {"Void", "作废"},
	"waits": {"waits", "待发布"}, "is-published": {"published", "已发布"}, "no-code": {"No code issued yet.", "还没有发码。"},
	"passages": {"Last passages", "最近通行"}, "time": {"Time", "时间"}, "record": {"Record", "记录"}, "direction": {"Direction", "方向"}, "verdict": {"Verdict", "判定"},
	"nobody": {"Nobody has passed yet.", "还没有人通过。"}, "tombstone": {"tombstone", "墓碑"}, "unreadable-record": {"unreadable record", "不可读记录"},
	"never": {"never", "从未"}, "now": {"now", "刚刚"}, "a-minute-ago": {"a minute ago", "一分钟前"},
	"day": {"Day", "日期"}, "day-before": {"Day before", "前一天"}, "day-after": {"Day after", "后一天"}, "hours": {"Passages by the hour", "每小时通行"},
	"hour-of-day": {"Hour", "时"}, "as-table": {"As a table", "表格"}, "condition": {"As the gate says", "闸机自述"}, "policy": {"Policy", "策略"}, "map": {"Map", "地图"},
	"certificate": {"Certificate until", "证书有效期至"}, "added": {"Added", "添加时间"}, "back": {"All gates", "全部闸机"}, "cut": {"Only the first part of what came that day is counted: it is too much for a page.", "当天数据过多，仅统计了前面一部分。"},
	"open": {"Open", "打开"}, "token": {"Operator’s token", "操作员令牌"}, "wrong-token": {"That is not the token.", "令牌不正确。"}, "token-lies": {"It lies in the hub’s data folder:", "位于中心的数据目录："},
	"live": {"live", "实时"}, "stopped": {"not live: load the page again", "已停止更新：请重新载入"}, "waiting": {"not live: waiting for the hub", "未更新：正在等待中心"},
	"lang": {"en", "zh-CN"}, "other": {"zh", "en"}, "other-name": {"中文", "English"},
}

// fieldWords are the field's words in Chinese.
var fieldWords = map[string]string{
	"admit": "放行", "hold": "待处理", "refuse": "拒绝", "entry": "入",
	"fresh": "最新", "stale": "过旧", "too-old": "太旧", "missing": "缺失",
	string(passage.Dropped): "已丢弃", string(passage.Damaged): "已损坏",
	"actuator-error": "通道闸控制出错", "actuator-timeout": "通道闸无响应", "no-key": "没有密钥", "opener-timeout": "开封超时", "journal-timeout": "日志超时", "journal-error": "日志出错",
	"journal-damaged": "日志受损", "journal-dropped": "日志有丢弃", "store-set-aside": "存储已重建", "wipe-ordered": "已下令清除", "upload-forbidden": "上传被拒", "upload-gap": "上传缺记录", "upload-fork": "上传出现两份历史", "upload-record": "上传遇坏记录", "starting": "启动中", "stopping": "停止中", "stopped": "已停止",
	"unset": "未设", "floor": "下限", "network": "网络", "hub-confirmed": "中心确认",
	string(gate.Valid): "有效", string(gate.Unreadable): "无法识别", string(gate.Malformed): "格式错误", string(gate.UnknownKey): "未知密钥",
	string(gate.BadSignature): "签名错误", string(gate.VoidCode): "作废", string(gate.OutOfBounds): "超出名单", string(gate.Expired): "过期",
	string(gate.NotYetValid): "尚未生效", string(gate.ProofMissing): "缺少持有证明", string(gate.ProofStale): "持有证明过期", string(gate.Replayed): "重复出示",
	string(gate.RedCode): "红码", string(gate.YellowCode): "黄码", string(gate.PermitNeeded): "需要通行证", string(gate.PermitWrongZone): "通行证区域不符",
	string(gate.PermitExpired): "通行证过期", string(gate.PermitNotHolders): "非本人通行证", string(gate.Measuring): "测温中", string(gate.Again): "请再测",
	string(gate.Closer): "请靠近", string(gate.Fever): "发热", string(gate.ThermometerAbsent): "无测温仪", string(gate.ThermometerBroken): "测温仪故障",
	string(gate.OutOfRange): "环境温度超限", string(gate.RiskHighRegion): "高风险地区", string(gate.RiskMediumRegion): "中风险地区", string(gate.Passback): "反潜回",
	string(gate.ListsMissing): "缺少名单", string(gate.NewerThanList): "码比名单新", string(gate.ListsTooOld): "名单太旧", string(gate.ListsStale): "名单过旧",
	string(gate.ClockIsUnset): "时钟未设", string(gate.PaperCode): "纸质码", string(gate.Fault): "故障", string(gate.ExitFree): "出口", string(gate.ByGuard): "保安",
	string(gate.ByFire): "消防", string(gate.ByButton): "出门按钮", string(gate.Forced): "强行进入", string(gate.Busy): "忙",
}
