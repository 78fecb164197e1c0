package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"
)

// SocketName is the admin API's socket in the data folder.
const SocketName = "admin.sock"

// Client speaks the plain API over the hub's unix socket. Its methods are the
// hub's, with the same errors.
type Client struct {
	http *http.Client
}

// NewClient returns a client for the hub whose data folder is dir.
func NewClient(dir string) *Client { return NewSocketClient(filepath.Join(dir, SocketName)) }

// NewSocketClient returns a client for the hub behind this socket.
func NewSocketClient(path string) *Client {
	var d net.Dialer
	return &Client{&http.Client{
		Timeout: 2 * time.Minute,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				c, err := d.DialContext(ctx, "unix", path)
				if err != nil {
					return nil, fmt.Errorf("%w\nhint: is gatehub running with this data folder?", err)
				}
				return c, nil
			},
		},
	}}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// apiError is how the API writes an error.
type apiError struct {
	Error string `json:"error"`
	Kind  string `json:"kind,omitempty"`
}

// kinds are the words for the sentinels.
var kinds = []struct {
	word   string
	err    error
	status int
}{
	{"invalid", ErrInvalid, http.StatusBadRequest},
	{"not-found", ErrNotFound, http.StatusNotFound},
	{"conflict", ErrConflict, http.StatusConflict},
	{"not-leader", ErrNotLeader, http.StatusConflict},
	{"full", ErrFull, http.StatusInsufficientStorage},
}

// remoteError is an error that the hub answered with.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }

// remote gives the error its identity back.
func (e apiError) remote() error {
	for _, k := range kinds {
		if k.word == e.Kind {
			return &remoteError{e.Error, k.err}
		}
	}
	return &remoteError{e.Error, errors.New("hub failed")}
}

func call[Request, Answer any](ctx context.Context, c *Client, op string, in Request) (Answer, error) {
	var out Answer
	body, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("hub %s: %w", op, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://hub/v1/"+op, bytes.NewReader(body))
	if err != nil {
		return out, fmt.Errorf("hub %s: %w", op, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return out, fmt.Errorf("hub %s: %w", op, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminAnswer+1))
	if err != nil {
		return out, fmt.Errorf("hub %s: %w", op, err)
	}
	if len(data) > maxAdminAnswer {
		return out, fmt.Errorf("hub %s: answer of more than %d bytes", op, maxAdminAnswer)
	}
	if resp.StatusCode != http.StatusOK {
		var e apiError
		if err := json.Unmarshal(data, &e); err != nil || e.Error == "" {
			return out, fmt.Errorf("hub %s: status %d", op, resp.StatusCode)
		}
		return out, e.remote()
	}
	if err := json.Unmarshal(data, &out); err != nil {
		return out, fmt.Errorf("hub %s: answer: %w", op, err)
	}
	return out, nil
}

// Declare takes a person's declaration.
func (c *Client) Declare(ctx context.Context, r DeclareRequest) (Declaration, error) {
	return call[DeclareRequest, Declaration](ctx, c, "declare", r)
}

// Declaration returns one declaration.
func (c *Client) Declaration(ctx context.Context, r IDRequest) (Declaration, error) {
	return call[IDRequest, Declaration](ctx, c, "declaration", r)
}

// Declarations lists declarations.
func (c *Client) Declarations(ctx context.Context, r DeclarationsRequest) ([]Declaration, error) {
	return call[DeclarationsRequest, []Declaration](ctx, c, "declarations", r)
}

// Review decides on a declaration.
func (c *Client) Review(ctx context.Context, r ReviewRequest) (Declaration, error) {
	return call[ReviewRequest, Declaration](ctx, c, "review", r)
}

// Issue makes a code for a reviewed declaration.
func (c *Client) Issue(ctx context.Context, r IssueRequest) (Issued, error) {
	return call[IssueRequest, Issued](ctx, c, "issue", r)
}

// Recolour changes the colour of codes.
func (c *Client) Recolour(ctx context.Context, r RecolourRequest) (Changed, error) {
	return call[RecolourRequest, Changed](ctx, c, "recolour", r)
}

// Revoke makes codes or a permit void.
func (c *Client) Revoke(ctx context.Context, r RevokeRequest) (Changed, error) {
	return call[RevokeRequest, Changed](ctx, c, "revoke", r)
}

// AddEnterprise delegates a key to an enterprise.
func (c *Client) AddEnterprise(ctx context.Context, r EnterpriseRequest) (Enterprise, error) {
	return call[EnterpriseRequest, Enterprise](ctx, c, "enterprise-add", r)
}

// Enterprises lists them.
func (c *Client) Enterprises(ctx context.Context) ([]Enterprise, error) {
	return call[None, []Enterprise](ctx, c, "enterprises", None{})
}

// IssuePermit makes an entry permit.
func (c *Client) IssuePermit(ctx context.Context, r PermitRequest) (Issued, error) {
	return call[PermitRequest, Issued](ctx, c, "permit-issue", r)
}

// AddGate makes the identity of a gate.
func (c *Client) AddGate(ctx context.Context, r GateRequest) (Bundle, error) {
	return call[GateRequest, Bundle](ctx, c, "gate-add", r)
}

// InviteGate makes a token for one gate; see [Hub.InviteGate].
func (c *Client) InviteGate(ctx context.Context, r InviteRequest) (Invitation, error) {
	return call[InviteRequest, Invitation](ctx, c, "gate-invite", r)
}

// RevokeGate ends a gate's certificate.
func (c *Client) RevokeGate(ctx context.Context, r GateRef) error {
	_, err := call[GateRef, None](ctx, c, "gate-revoke", r)
	return err
}

// WipeGate orders a gate to destroy what it holds; see [Hub.WipeGate].
func (c *Client) WipeGate(ctx context.Context, r WipeRequest) error {
	_, err := call[WipeRequest, None](ctx, c, "gate-wipe", r)
	return err
}

// Gates lists all gates.
func (c *Client) Gates(ctx context.Context) ([]GateStatus, error) {
	return call[None, []GateStatus](ctx, c, "gates", None{})
}

// Alarms lists what is wrong now, the gravest first.
func (c *Client) Alarms(ctx context.Context) ([]Alarm, error) {
	return call[None, []Alarm](ctx, c, "alarms", None{})
}

// ClearAlarm ends an alarm that stays; see [Hub.ClearAlarm].
func (c *Client) ClearAlarm(ctx context.Context, r AlarmRef) error {
	_, err := call[AlarmRef, None](ctx, c, "alarm-clear", r)
	return err
}

// SetPolicy sets the policy for all gates; see [Hub.SetPolicy].
func (c *Client) SetPolicy(ctx context.Context, r Document) error {
	_, err := call[Document, None](ctx, c, "policy-set", r)
	return err
}

// SetMap sets the five-colour map; see [Hub.SetMap].
func (c *Client) SetMap(ctx context.Context, r Document) error {
	_, err := call[Document, None](ctx, c, "map-set", r)
	return err
}

// Policy returns the policy in force, or a version of it; see [Hub.Policy].
func (c *Client) Policy(ctx context.Context, r DocumentRequest) (Document, error) {
	return call[DocumentRequest, Document](ctx, c, "policy", r)
}

// Map returns the five-colour map in force.
func (c *Client) Map(ctx context.Context) (Document, error) {
	return call[None, Document](ctx, c, "map", None{})
}

// AddProvince makes the province's issuer key; see [Hub.AddProvince].
func (c *Client) AddProvince(ctx context.Context, r ProvinceRequest) error {
	_, err := call[ProvinceRequest, None](ctx, c, "province-add", r)
	return err
}

// OfflineContents returns what offline keys sign, for a publisher that has them.
func (c *Client) OfflineContents(ctx context.Context) (OfflineContents, error) {
	return call[None, OfflineContents](ctx, c, "offline-contents", None{})
}

// Publish makes all changes visible to the gates now.
func (c *Client) Publish(ctx context.Context) (Published, error) {
	return call[None, Published](ctx, c, "publish", None{})
}

// Lists describes the status lists.
func (c *Client) Lists(ctx context.Context) ([]ListStatus, error) {
	return call[None, []ListStatus](ctx, c, "lists", None{})
}

// Breaks lists what was kept of what a gate, or any, sent and the hub did not take.
func (c *Client) Breaks(ctx context.Context, r GateRef) ([]Break, error) {
	return call[GateRef, []Break](ctx, c, "breaks", r)
}

// Retention returns how long each field of a passage is kept.
func (c *Client) Retention(ctx context.Context) (Retention, error) {
	return call[None, Retention](ctx, c, "retention", None{})
}

// SetRetention sets it.
func (c *Client) SetRetention(ctx context.Context, r RetentionRequest) error {
	_, err := call[RetentionRequest, None](ctx, c, "retention-set", r)
	return err
}

// Nodes lists the nodes that hold the passages.
func (c *Client) Nodes(ctx context.Context) ([]NodeStatus, error) {
	return call[None, []NodeStatus](ctx, c, "nodes", None{})
}

// Passages reads stored passages.
func (c *Client) Passages(ctx context.Context, r PassagesRequest) ([]Passage, error) {
	return call[PassagesRequest, []Passage](ctx, c, "passages", r)
}

// Verify replays all that is stored of a gate.
func (c *Client) Verify(ctx context.Context, r GateRef) (Verification, error) {
	return call[GateRef, Verification](ctx, c, "verify", r)
}

// UnsealCounts opens the sealed parts of a gate's decisions and counts them; audited.
func (c *Client) UnsealCounts(ctx context.Context, r GateRef) (UnsealedCounts, error) {
	return call[GateRef, UnsealedCounts](ctx, c, "unseal-counts", r)
}
