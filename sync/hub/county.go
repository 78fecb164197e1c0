package hub

import "strings"

// county is one area of the lowest level of GB/T 2260 that gates are told apart by.
type county struct{ zh, en string }

// counties are Zhejiang's 90 as of 31 December 2020: 37 districts, 20 cities
// and 33 counties. Codes and Chinese names are of the Ministry of Civil Affairs'
// table of that year (中华人民共和国县以上行政区划代码, mca.gov.cn/article/sj/xzqh/2020),
// English ones its names in pinyin. Hangzhou's districts were cut anew in April
// 2021; gates of 2020 have the codes of 2020.
var counties = map[string]county{
	// Hangzhou
	"330102": {"上城区", "Shangcheng District"}, "330103": {"下城区", "Xiacheng District"}, "330104": {"江干区", "Jianggan District"},
	"330105": {"拱墅区", "Gongshu District"}, "330106": {"西湖区", "Xihu District"}, "330108": {"滨江区", "Binjiang District"},
	"330109": {"萧山区", "Xiaoshan District"}, "330110": {"余杭区", "Yuhang District"}, "330111": {"富阳区", "Fuyang District"},
	"330112": {"临安区", "Lin'an District"}, "330122": {"桐庐县", "Tonglu County"}, "330127": {"淳安县", "Chun'an County"},
	"330182": {"建德市", "Jiande City"},
	// Ningbo
	"330203": {"海曙区", "Haishu District"}, "330205": {"江北区", "Jiangbei District"}, "330206": {"北仑区", "Beilun District"},
	"330211": {"镇海区", "Zhenhai District"}, "330212": {"鄞州区", "Yinzhou District"}, "330213": {"奉化区", "Fenghua District"},
	"330225": {"象山县", "Xiangshan County"}, "330226": {"宁海县", "Ninghai County"}, "330281": {"余姚市", "Yuyao City"},
	"330282": {"慈溪市", "Cixi City"},
	// Wenzhou
	"330302": {"鹿城区", "Lucheng District"}, "330303": {"龙湾区", "Longwan District"}, "330304": {"瓯海区", "Ouhai District"},
	"330305": {"洞头区", "Dongtou District"}, "330324": {"永嘉县", "Yongjia County"}, "330326": {"平阳县", "Pingyang County"},
	"330327": {"苍南县", "Cangnan County"}, "330328": {"文成县", "Wencheng County"}, "330329": {"泰顺县", "Taishun County"},
	"330381": {"瑞安市", "Rui'an City"}, "330382": {"乐清市", "Yueqing City"}, "330383": {"龙港市", "Longgang City"},
	// Jiaxing
	"330402": {"南湖区", "Nanhu District"}, "330411": {"秀洲区", "Xiuzhou District"}, "330421": {"嘉善县", "Jiashan County"},
	"330424": {"海盐县", "Haiyan County"}, "330481": {"海宁市", "Haining City"}, "330482": {"平湖市", "Pinghu City"},
	"330483": {"桐乡市", "Tongxiang City"},
	// Huzhou
	"330502": {"吴兴区", "Wuxing District"}, "330503": {"南浔区", "Nanxun District"}, "330521": {"德清县", "Deqing County"},
	"330522": {"长兴县", "Changxing County"}, "330523": {"安吉县", "Anji County"},
	// Shaoxing
	"330602": {"越城区", "Yuecheng District"}, "330603": {"柯桥区", "Keqiao District"}, "330604": {"上虞区", "Shangyu District"},
	"330624": {"新昌县", "Xinchang County"}, "330681": {"诸暨市", "Zhuji City"}, "330683": {"嵊州市", "Shengzhou City"},
	// Jinhua
	"330702": {"婺城区", "Wucheng District"}, "330703": {"金东区", "Jindong District"}, "330723": {"武义县", "Wuyi County"},
	"330726": {"浦江县", "Pujiang County"}, "330727": {"磐安县", "Pan'an County"}, "330781": {"兰溪市", "Lanxi City"},
	"330782": {"义乌市", "Yiwu City"}, "330783": {"东阳市", "Dongyang City"}, "330784": {"永康市", "Yongkang City"},
	// Quzhou
	"330802": {"柯城区", "Kecheng District"}, "330803": {"衢江区", "Qujiang District"}, "330822": {"常山县", "Changshan County"},
	"330824": {"开化县", "Kaihua County"}, "330825": {"龙游县", "Longyou County"}, "330881": {"江山市", "Jiangshan City"},
	// Zhoushan
	"330902": {"定海区", "Dinghai District"}, "330903": {"普陀区", "Putuo District"}, "330921": {"岱山县", "Daishan County"},
	"330922": {"嵊泗县", "Shengsi County"},
	// Taizhou
	"331002": {"椒江区", "Jiaojiang District"}, "331003": {"黄岩区", "Huangyan District"}, "331004": {"路桥区", "Luqiao District"},
	"331022": {"三门县", "Sanmen County"}, "331023": {"天台县", "Tiantai County"}, "331024": {"仙居县", "Xianju County"},
	"331081": {"温岭市", "Wenling City"}, "331082": {"临海市", "Linhai City"}, "331083": {"玉环市", "Yuhuan City"},
	// Lishui
	"331102": {"莲都区", "Liandu District"}, "331121": {"青田县", "Qingtian County"}, "331122": {"缙云县", "Jinyun County"},
	"331123": {"遂昌县", "Suichang County"}, "331124": {"松阳县", "Songyang County"}, "331125": {"云和县", "Yunhe County"},
	"331126": {"庆元县", "Qingyuan County"}, "331127": {"景宁畲族自治县", "Jingning She Autonomous County"}, "331181": {"龙泉市", "Longquan City"},
}

// county is a code's name; of one that the table has not, its digits.
func (l language) county(code string) string {
	c, ok := counties[code]
	switch {
	case !ok:
		return code
	case l == chinese:
		return c.zh
	}
	return c.en
}

// countyTitle is a code with its names in both languages.
func countyTitle(code string) string {
	c, ok := counties[code]
	if !ok {
		return code
	}
	return code + " " + c.zh + " " + c.en
}

// shortCounty is what a tile has room for: the Chinese name without what kind
// of county it is.
func shortCounty(code string) string {
	c, ok := counties[code]
	if !ok {
		return code
	}
	if name, ok := strings.CutSuffix(c.zh, "畲族自治县"); ok {
		return name
	}
	name := []rune(c.zh)
	return string(name[:len(name)-1])
}
