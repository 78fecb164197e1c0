package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"time"

	"greengate/pass"
	"greengate/pass/base45"
	"greengate/pass/healthcode"
	"greengate/sync/hub"
)

// holder is a person with a code.
type holder struct {
	name    string
	private ed25519.PrivateKey // nil without a phone
	code    string             // as issued, without the proof
	status  hub.Ref
	permit  string
}

// present is what the phone shows now: a dynamic code proves possession anew.
func (h *holder) present(at time.Time) (string, error) {
	if h.private == nil {
		return h.code, nil
	}
	return healthcode.Prove(h.private, h.code, at, healthcode.DefaultAudience)
}

// order is what a person of the script needs from the hub.
type order struct {
	name   string
	kind   string // static, paper, dynamic
	colour string
	region string
	permit bool
	valid  time.Duration
}

// issue walks a person through the authority: declare, review, issue, permit.
func (d *demo) issue(ctx context.Context, o order) (*holder, error) {
	if o.region == "" {
		o.region = region
	}
	if o.valid == 0 {
		o.valid = 24 * time.Hour
	}
	h := &holder{name: o.name}
	var public ed25519.PublicKey
	if o.kind == "dynamic" {
		var err error
		if public, h.private, err = ed25519.GenerateKey(rand.Reader); err != nil {
			return nil, err
		}
	}
	declared, err := d.hub.Declare(ctx, hub.DeclareRequest{Name: o.name, Region: o.region, Category: "resident"})
	if err != nil {
		return nil, fmt.Errorf("declare: %w", err)
	}
	if _, err := d.hub.Review(ctx, hub.ReviewRequest{Declaration: declared.ID, Colour: o.colour, Reviewer: "demo"}); err != nil {
		return nil, fmt.Errorf("review: %w", err)
	}
	issued, err := d.hub.Issue(ctx, hub.IssueRequest{Declaration: declared.ID, Kind: o.kind, HolderKey: public, ValidSeconds: int64(o.valid / time.Second), By: "demo"})
	if err != nil {
		return nil, fmt.Errorf("issue: %w", err)
	}
	h.code, h.status = issued.Code, issued.Status
	if o.permit {
		p, err := d.hub.IssuePermit(ctx, hub.PermitRequest{Enterprise: "QJ-1001", Holder: h.status, By: "demo"})
		if err != nil {
			return nil, fmt.Errorf("permit: %w", err)
		}
		h.permit = p.Code
	}
	return h, nil
}

// forge changes one bit of a code's signature.
func forge(code string) (string, error) {
	raw, err := base45.Decode(code[len(healthcode.Prefix):])
	if err != nil {
		return "", err
	}
	raw[len(raw)-20] ^= 1
	return healthcode.Prefix + base45.Encode(raw), nil
}

// selfIssue signs a code with a key that no authority knows.
func selfIssue(ref hub.Ref) (string, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	now := time.Now()
	return healthcode.Issue(healthcode.Signer{
		Key: pass.Key{ID: []byte{0xba, 0xdc, 0x0d, 0xe5}, Algorithm: pass.EdDSA, Public: public, Use: pass.UseCode,
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)},
		Private: private,
	}, healthcode.Claims{Issued: now, Expires: now.Add(time.Hour), Status: ref.StatusRef(), Name: "伪*", Region: region})
}
