package trust

import (
	"fmt"
	"regexp"
	"strings"

	"greengate/pass/hashlist"
	"greengate/pass/statuslist"
)

// Names that are part of the format; the publisher knows them too.
const (
	keysRole     = "keys"
	policyRole   = "policy"
	mapRole      = "map"
	releaseRole  = "release"
	statusPrefix = "status-"

	keysPath   = "keys/keys.json"
	policyPath = "policy/policy.json"
	mapPath    = "map/map.json"
)

var (
	listURI  = regexp.MustCompile(`(?:^|[/:])([0-9]{2}|[0-9]{4}|[0-9]{6})/(0|[1-9][0-9]{0,6})$`)
	listPath = regexp.MustCompile(`^status/([0-9]{2}|[0-9]{4}|[0-9]{6})/(0|[1-9][0-9]{0,6})\.tsl$`)
)

// owns says whether the path is one of the role's own, whatever targets
// delegates: each path has one role, and no role reaches into another's.
func owns(role, path string) bool {
	switch role {
	case keysRole:
		return path == keysPath
	case policyRole:
		return path == policyPath
	case mapRole:
		return path == mapPath
	case revocationRole:
		_, err := hashlist.ParsePath(path)
		return err == nil
	case releaseRole:
		return strings.HasPrefix(path, role+"/") && strings.Count(path, "/") == 1
	}
	province, status := strings.CutPrefix(role, statusPrefix)
	region, list := regionOf(path)
	return status && list && strings.HasPrefix(region, province)
}

// pathOf returns where the list lies among the targets, and its region. The
// path is made of the URI, so a role that may deliver the one path cannot
// speak for a URI of another region.
func pathOf(uri string) (path, region string, err error) {
	m := listURI.FindStringSubmatch(uri)
	if m == nil || len(uri) > statuslist.MaxURI {
		return "", "", fmt.Errorf("list %.64q: %w", uri, ErrURI)
	}
	return "status/" + m[1] + "/" + m[2] + ".tsl", m[1], nil
}

// regionOf returns the region of a list's path.
func regionOf(path string) (region string, ok bool) {
	m := listPath.FindStringSubmatch(path)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// overlap says whether one region lies in the other: a gate that holds county
// 330106 wants the list of prefecture 3301, and one that holds province 33
// wants it too.
func overlap(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }

// deltaName returns the name of a delta of the list at path. With consistent
// snapshots or without, it carries its hash.
func deltaName(path string, d statuslist.Delta) string {
	return hashed(fmt.Sprintf("%s.%d.tsd", strings.TrimSuffix(path, ".tsl"), d.From), fmt.Sprintf("%x", d.SHA256))
}

// hashed returns the name of a target file with consistent snapshots
// (TUF specification 1.0, section 6.2).
func hashed(path, hash string) string {
	i := strings.LastIndexByte(path, '/') + 1
	return "targets/" + path[:i] + hash + "." + path[i:]
}
