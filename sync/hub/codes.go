package hub

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/healthcode"
	"greengate/pass/statuslist"
)

const (
	defaultValidity = 30 * 24 * time.Hour
	maxValidity     = 365 * 24 * time.Hour
	maxDeclarations = 1000
)

// colours are the words of gate.Status for what a status list can say.
var colours = map[string]uint8{
	gate.Green.String():  statuslist.Valid,
	gate.Void.String():   statuslist.Invalid,
	gate.Yellow.String(): statuslist.Suspended,
	gate.Red.String():    statuslist.ApplicationSpecific,
}

// invalid makes an error of the request.
func invalid(format string, a ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, a...))
}

func checkBy(by string) error {
	if !validText(by, 1, 64) {
		return invalid("by: want who does it, 1 to 64 bytes of text")
	}
	return nil
}

// Mask hides most of a name: "王小明" becomes "王*明", "王明" "王*", and
// "John Smith" "J*** S***".
func Mask(name string) string {
	runes := []rune(strings.TrimSpace(name))
	if len(runes) == 0 {
		return ""
	}
	if unicode.Is(unicode.Han, runes[0]) {
		switch len(runes) {
		case 1:
			return "*"
		case 2:
			return string(runes[0]) + "*"
		}
		// One star for however many there are, no more than the name has.
		return string(runes[0]) + strings.Repeat("*", min(len(runes)-2, 4)) + string(runes[len(runes)-1])
	}
	var words []string
	for _, w := range strings.Fields(name) {
		first, _ := utf8.DecodeRuneInString(w)
		words = append(words, string(first)+"***")
	}
	return strings.Join(words[:min(len(words), 4)], " ")
}

// Declare takes a person's declaration.
func (h *Hub) Declare(ctx context.Context, r DeclareRequest) (Declaration, error) {
	if !validText(r.Name, 1, 64) || strings.TrimSpace(r.Name) == "" {
		return Declaration{}, invalid("name: want 1 to 64 bytes of text")
	}
	if !countyPattern.MatchString(r.Region) {
		return Declaration{}, invalid("region %.20q: want six digits of GB/T 2260", r.Region)
	}
	if _, err := h.issuer(r.Region); err != nil {
		return Declaration{}, err
	}
	if !validText(r.Category, 0, 32) {
		return Declaration{}, invalid("category: want up to 32 bytes of text")
	}
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		return Declaration{}, fmt.Errorf("declare: %w", err)
	}
	d := Declaration{ID: hex.EncodeToString(id), Name: strings.TrimSpace(r.Name), Region: r.Region, Category: r.Category,
		Declared: h.options.Now().UTC(), State: Declared}
	if _, err := create(ctx, h.store.registry, "declaration."+d.ID, d); err != nil {
		return Declaration{}, err
	}
	return d, h.audit(ctx, "-", "declare", d.ID)
}

func checkDeclarationID(id string) error {
	if b, err := hex.DecodeString(id); err != nil || len(b) != 8 {
		return invalid("declaration %.40q: want 16 hex digits", id)
	}
	return nil
}

// Declaration returns one declaration.
func (h *Hub) Declaration(ctx context.Context, r IDRequest) (Declaration, error) {
	if err := checkDeclarationID(r.ID); err != nil {
		return Declaration{}, err
	}
	d, _, err := load[Declaration](ctx, h.store.registry, "declaration."+r.ID)
	return d, err
}

// Declarations lists declarations, the oldest first.
func (h *Hub) Declarations(ctx context.Context, r DeclarationsRequest) ([]Declaration, error) {
	switch r.State {
	case "", Declared, Reviewed, Rejected, IssuedState:
	default:
		return nil, invalid("state %.20q", string(r.State))
	}
	if r.Max < 0 || r.Max > maxDeclarations {
		return nil, invalid("max %d: want 1 to %d", r.Max, maxDeclarations)
	}
	if r.Max == 0 {
		r.Max = 100
	}
	out := []Declaration{}
	err := list(ctx, h.store.registry, "declaration.", func(_ string, d Declaration) error {
		if r.State != "" && d.State != r.State {
			return nil
		}
		out = append(out, d)
		if len(out) >= 2*maxDeclarations {
			out = oldest(out, r.Max)
		}
		return nil
	})
	return oldest(out, r.Max), err
}

func oldest(d []Declaration, n int) []Declaration {
	slices.SortFunc(d, func(a, b Declaration) int {
		return either(a.Declared.Compare(b.Declared), strings.Compare(a.ID, b.ID))
	})
	return d[:min(len(d), n)]
}

// either is the first of two orders that decides.
func either(a, b int) int {
	if a != 0 {
		return a
	}
	return b
}

// Review decides on a declaration. Before a code is issued it may be reviewed
// again; after, a change of colour is a recolour.
func (h *Hub) Review(ctx context.Context, r ReviewRequest) (Declaration, error) {
	if err := checkDeclarationID(r.Declaration); err != nil {
		return Declaration{}, err
	}
	if err := checkBy(r.Reviewer); err != nil {
		return Declaration{}, err
	}
	if v, ok := colours[r.Colour]; !r.Reject && (!ok || v == statuslist.Invalid) {
		return Declaration{}, invalid("colour %.20q: want green, yellow or red", r.Colour)
	}
	d, _, err := update(ctx, h.store.registry, "declaration."+r.Declaration, func(d *Declaration) error {
		if d.State == IssuedState || d.State == Rejected {
			return fmt.Errorf("declaration %s: %w: it is %s", d.ID, ErrConflict, d.State)
		}
		d.State, d.Colour = Reviewed, r.Colour
		if r.Reject {
			d.State, d.Colour = Rejected, ""
		}
		d.Reviewer, d.Reviewed = r.Reviewer, h.options.Now().UTC()
		return nil
	})
	if err != nil {
		return Declaration{}, err
	}
	return d, h.audit(ctx, r.Reviewer, "review-"+string(d.State), d.ID)
}

func validity(seconds int64) (time.Duration, error) {
	if seconds == 0 {
		return defaultValidity, nil
	}
	if seconds < 1 || seconds > int64(maxValidity/time.Second) {
		return 0, invalid("valid_seconds %d: want 1 to %d", seconds, int64(maxValidity/time.Second))
	}
	return time.Duration(seconds) * time.Second, nil
}

// Issue makes a code for a declaration that was reviewed, with the colour that
// the person has: the reviewer's, or that of the last recolour. The phone's code and a paper copy are two codes of one declaration.
func (h *Hub) Issue(ctx context.Context, r IssueRequest) (Issued, error) {
	if err := checkBy(r.By); err != nil {
		return Issued{}, err
	}
	valid, err := validity(r.ValidSeconds)
	if err != nil {
		return Issued{}, err
	}
	c := healthcode.Claims{}
	switch r.Kind {
	case pass.KindStatic.String():
	case pass.KindPaper.String():
		c.Paper = true
	case pass.KindBound.String():
		if len(r.HolderKey) != ed25519.PublicKeySize {
			return Issued{}, invalid("holder_key: %d bytes, want %d", len(r.HolderKey), ed25519.PublicKeySize)
		}
		c.HolderKey = ed25519.PublicKey(r.HolderKey)
	default:
		return Issued{}, invalid("kind %.20q: want static, paper or dynamic", r.Kind)
	}
	if c.HolderKey == nil && len(r.HolderKey) != 0 {
		return Issued{}, invalid("a %s code has no holder_key", r.Kind)
	}
	d, err := h.Declaration(ctx, IDRequest{r.Declaration})
	if err != nil {
		return Issued{}, err
	}
	if d.State != Reviewed && d.State != IssuedState {
		return Issued{}, fmt.Errorf("declaration %s: %w: it is %s", d.ID, ErrConflict, d.State)
	}
	if len(d.Codes) >= 16 {
		return Issued{}, fmt.Errorf("declaration %s: %w: it has %d codes", d.ID, ErrConflict, len(d.Codes))
	}
	signer, err := h.issuer(d.Region)
	if err != nil {
		return Issued{}, fmt.Errorf("declaration %s: %w: no issuer for its province any more", d.ID, ErrConflict)
	}
	c.Name, c.Region, c.Category = Mask(d.Name), d.Region, d.Category
	rec := codeRecord{Kind: r.Kind, Value: colours[d.Colour], Declaration: d.ID, By: r.By}
	issued, err := h.claim(ctx, d.Region[:4], valid, rec, func(ref Ref, from, to time.Time) (string, error) {
		c.Status, c.Issued, c.Expires = ref.StatusRef(), from, to
		return healthcode.Issue(signer, c)
	})
	if err != nil {
		return Issued{}, fmt.Errorf("declaration %s: %w", d.ID, err)
	}
	meanwhile := d.Colour
	// Should this be cut, an index is lost with a code that nobody was given.
	if _, _, err := update(ctx, h.store.registry, "declaration."+d.ID, func(d *Declaration) error {
		if d.State != Reviewed && d.State != IssuedState {
			return fmt.Errorf("declaration %s: %w: it is %s", d.ID, ErrConflict, d.State)
		}
		d.State = IssuedState
		d.Codes = append(d.Codes, issued.Status)
		meanwhile = d.Colour
		return nil
	}); err != nil {
		return Issued{}, err
	}
	if meanwhile != d.Colour {
		// Recoloured since it was read above, when this code was not yet among the others.
		if _, err := h.Recolour(ctx, RecolourRequest{Status: &issued.Status, Colour: meanwhile, By: r.By}); err != nil {
			return Issued{}, err
		}
	}
	return issued, h.audit(ctx, r.By, "issue-"+r.Kind, issued.Status.String())
}

// String names an entry in logs: it is a pseudonym, not a code.
func (r Ref) String() string { return fmt.Sprintf("%s#%d", r.URI, r.Index) }

// claim draws a random index, has the code signed, and claims the index with
// its colour in one write. An index is guessed by nobody: the order of issuing
// does not show in it.
func (h *Hub) claim(ctx context.Context, region string, valid time.Duration, rec codeRecord, sign func(ref Ref, from, to time.Time) (string, error)) (Issued, error) {
	for range maxDraws {
		number, published := h.lists.open(region), h.lists.latest()
		now := h.options.Now().UTC().Truncate(time.Second)
		// A list says what was issued up to and including its own second. A code
		// of the same second that it does not hold would be void instead of
		// "newer than the list", so wait for the next one.
		if !now.After(published) {
			if err := h.sleep(ctx, published.Add(time.Second).Sub(h.options.Now())); err != nil {
				return Issued{}, err
			}
			continue
		}
		n, err := rand.Int(rand.Reader, big.NewInt(listCodes))
		if err != nil {
			return Issued{}, fmt.Errorf("draw an index: %w", err)
		}
		s := slot{region, number, n.Uint64()}
		out := Issued{Status: h.lists.ref(s), Issued: now, Expires: now.Add(valid)}
		if out.Code, err = sign(out.Status, out.Issued, out.Expires); err != nil {
			// Package healthcode signs nothing that a gate would refuse, and says which
			// part of the request that would be.
			if errors.Is(err, pass.ErrMalformed) {
				return Issued{}, invalid("%w", err)
			}
			return Issued{}, fmt.Errorf("sign: %w", err)
		}
		rec.Issued, rec.Expires = out.Issued.Unix(), out.Expires.Unix()
		done, err := h.claimSlot(ctx, s, rec)
		if err != nil {
			return Issued{}, err
		}
		if done {
			return out, nil
		}
	}
	return Issued{}, fmt.Errorf("region %s: %w: no free index in %d draws", region, ErrFull, maxDraws)
}

// claimSlot creates the key. Lists of the code's time or later that were begun
// before it do not hold it, and would call it void: such an index is given up,
// and nobody gets the code. No lock keeps claims and publishes apart, since they
// may be of different hubs; their order in the stream says which was first.
func (h *Hub) claimSlot(ctx context.Context, s slot, rec codeRecord) (bool, error) {
	rev, err := create(ctx, h.store.codes, s.key(), rec)
	if errors.Is(err, ErrConflict) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := h.lists.wait(ctx, rev); err != nil {
		return false, err
	}
	if !h.lists.late(time.Unix(rec.Issued, 0), rev) {
		return true, nil
	}
	_, _, err = update(ctx, h.store.codes, s.key(), func(c *codeRecord) error {
		c.Value = statuslist.Invalid
		return nil
	})
	return false, err
}

// sleep waits so long, at most two seconds.
func (h *Hub) sleep(ctx context.Context, d time.Duration) error {
	if d > 2*time.Second {
		return fmt.Errorf("the hub's clock is %s behind the last published list", d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Recolour changes the colour of one health code, or of all of a declaration;
// later codes of that declaration have it too. Void is for ever: such a code
// stays void, and the person's colour is what it was.
func (h *Hub) Recolour(ctx context.Context, r RecolourRequest) (Changed, error) {
	if err := checkBy(r.By); err != nil {
		return Changed{}, err
	}
	value, ok := colours[r.Colour]
	if !ok {
		return Changed{}, invalid("colour %.20q: want green, yellow, red or void", r.Colour)
	}
	var refs []Ref
	switch {
	case (r.Status == nil) == (r.Declaration == ""):
		return Changed{}, invalid("want either status or declaration")
	case r.Status != nil:
		refs = []Ref{*r.Status}
	default:
		if err := checkDeclarationID(r.Declaration); err != nil {
			return Changed{}, err
		}
		// First the person: a code that is issued meanwhile is among those below,
		// or sees the new colour.
		d, err := h.setColour(ctx, r.Declaration, r.Colour, r.By)
		if err != nil {
			return Changed{}, err
		}
		refs = d.Codes
	}
	out := Changed{Codes: []Ref{}}
	for _, ref := range refs {
		s, err := h.lists.slot(ref)
		if err != nil {
			return out, err
		}
		void, changed := false, false
		c, rev, err := update(ctx, h.store.codes, s.key(), func(c *codeRecord) error {
			void = c.Value == statuslist.Invalid
			if void {
				return errVoid
			}
			if c.Kind == pass.KindPermit.String() && value != statuslist.Invalid {
				return fmt.Errorf("%s: %w: a permit has no colour, it can only be revoked", ref, ErrConflict)
			}
			changed = c.Value != value
			if !changed {
				return errSame
			}
			c.Value, c.By = value, r.By
			return nil
		})
		if r.Status != nil && c.Declaration != "" && (err == nil || errors.Is(err, errSame)) {
			// A declaration without a code: its Issue was cut, and nobody has this one.
			if _, err := h.setColour(ctx, c.Declaration, r.Colour, r.By); err != nil && !errors.Is(err, errNoCode) {
				return out, err
			}
		}
		switch {
		case errors.Is(err, errSame):
			continue
		case errors.Is(err, errVoid):
			if value == statuslist.Invalid || len(refs) > 1 {
				continue // it is so already, or the person's other codes go on
			}
			return out, fmt.Errorf("%s: %w: it is void for ever", ref, ErrConflict)
		case errors.Is(err, ErrNotFound):
			return out, fmt.Errorf("%s: %w: never issued", ref, ErrNotFound)
		case err != nil:
			return out, err
		}
		if err := h.lists.wait(ctx, rev); err != nil {
			return out, err
		}
		out.Codes = append(out.Codes, ref)
		if err := h.audit(ctx, r.By, "recolour-"+r.Colour, ref.String()); err != nil {
			return out, err
		}
	}
	return out, nil
}

// setColour sets the colour of a declaration's next codes, and returns it with
// the codes it has. Void says nothing about the person.
func (h *Hub) setColour(ctx context.Context, id, colour, by string) (Declaration, error) {
	d, _, err := update(ctx, h.store.registry, "declaration."+id, func(d *Declaration) error {
		if len(d.Codes) == 0 {
			return fmt.Errorf("declaration %s: %w: %w", d.ID, ErrConflict, errNoCode)
		}
		if d.Colour == colour || colour == gate.Void.String() {
			return errSame
		}
		d.Colour = colour
		return nil
	})
	if errors.Is(err, errSame) {
		return d, nil
	}
	if err != nil {
		return d, err
	}
	return d, h.audit(ctx, by, "colour-"+colour, id)
}

var (
	errVoid   = errors.New("void")
	errSame   = errors.New("no change")
	errNoCode = errors.New("it has no code")
)

// Revoke makes a code or permit void, for ever.
func (h *Hub) Revoke(ctx context.Context, r RevokeRequest) (Changed, error) {
	return h.Recolour(ctx, RecolourRequest{Status: r.Status, Declaration: r.Declaration, Colour: gate.Void.String(), By: r.By})
}
