package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxToken bounds the answer of a token server.
const maxToken = 1 << 20

func (c *Client) cached(key string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.header[key]
}

// login answers the challenge of a registry and remembers the result.
func (r *Repository) login(ctx context.Context, challenges []string) error {
	cred, err := r.client.auth(r.host, r.name)
	if err != nil {
		return fmt.Errorf("credentials for %s: %w", r.host, err)
	}
	header := ""
	for _, c := range challenges {
		scheme, params := parseChallenge(c)
		switch {
		case scheme == "bearer":
			token, err := r.token(ctx, params, cred)
			if err != nil {
				return err
			}
			header = "Bearer " + token
		case scheme == "basic" && cred.Username != "" && header == "":
			header = basic(cred)
		}
	}
	if header == "" {
		if cred == (Credential{}) {
			return errNoCredential
		}
		return errors.New("the registry offers no authentication that is known here")
	}
	r.client.mu.Lock()
	defer r.client.mu.Unlock()
	r.client.header[r.key()] = header
	return nil
}

var errNoCredential = errors.New("no credentials")

func basic(c Credential) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
}

// token asks the token server that a challenge names.
func (r *Repository) token(ctx context.Context, params map[string]string, cred Credential) (string, error) {
	realm, err := url.Parse(params["realm"])
	if err != nil || realm.Host == "" {
		return "", fmt.Errorf("token server %q: not a URL", params["realm"])
	}
	if realm.Scheme != "https" && realm.Scheme != r.scheme || realm.Scheme != "https" && realm.Scheme != "http" {
		return "", fmt.Errorf("token server %s: refused, because it is not reached by https", realm.Redacted())
	}
	if realm.Scheme == "http" && !isLoopback(realm.Host) && !r.plain {
		return "", fmt.Errorf("token server %s: refused, because it is not reached by https", realm.Redacted())
	}
	query := realm.Query()
	if s := params["service"]; s != "" {
		query.Set("service", s)
	}
	// Ask for what is going to be done, whatever the challenge proposes.
	query.Del("scope")
	for _, scope := range r.scopes {
		query.Add("scope", scope)
	}
	req, err := tokenRequest(ctx, realm, query, cred)
	if err != nil {
		return "", err
	}
	resp, err := r.client.http.Do(req)
	if err != nil {
		return "", &UnreachableError{Host: realm.Host, Err: err}
	}
	if resp.StatusCode != http.StatusOK {
		return "", statusError(realm.Host, resp)
	}
	defer resp.Body.Close()
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxToken)).Decode(&answer); err != nil {
		return "", fmt.Errorf("token of %s: %w", realm.Host, err)
	}
	for _, t := range []string{answer.Token, answer.AccessToken} {
		if t != "" && !strings.ContainsAny(t, "\r\n") {
			return t, nil
		}
	}
	return "", fmt.Errorf("token of %s: the answer holds none", realm.Host)
}

// tokenRequest asks by password, or by the token that a login left.
func tokenRequest(ctx context.Context, realm *url.URL, query url.Values, cred Credential) (*http.Request, error) {
	if cred.Identity == "" {
		realm.RawQuery = query.Encode()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, realm.String(), nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("User-Agent", "airplant")
		if cred != (Credential{}) {
			req.Header.Set("Authorization", basic(cred))
		}
		return req, nil
	}
	form := url.Values{
		"grant_type": {"refresh_token"}, "client_id": {"airplant"}, "refresh_token": {cred.Identity},
		"service": {query.Get("service")}, "scope": {strings.Join(query["scope"], " ")},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "airplant")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req, nil
}

// parseChallenge reads one WWW-Authenticate header (RFC 9110, section 11.6.1)
// with a single challenge, as registries send it. The scheme and the names of
// the parameters are in lower case.
func parseChallenge(s string) (string, map[string]string) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	params := map[string]string{}
	for rest = strings.TrimLeft(rest, " ,"); rest != ""; rest = strings.TrimLeft(rest, " ,") {
		key, after, ok := strings.Cut(rest, "=")
		if !ok {
			break
		}
		var value string
		if strings.HasPrefix(after, `"`) {
			value, rest = unquote(after[1:])
		} else {
			value, rest, _ = strings.Cut(after, ",")
			value = strings.TrimSpace(value)
		}
		params[strings.ToLower(strings.TrimSpace(key))] = value
	}
	return strings.ToLower(scheme), params
}

// unquote reads a quoted string up to its closing quote.
func unquote(s string) (value, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}
