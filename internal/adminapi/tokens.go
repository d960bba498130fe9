package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ringback/ringback/internal/auth"
	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/registry"
)

// tokenTTL is how long a token counts that is made here: long enough to try
// something.
const tokenTTL = time.Hour

func (a *API) registerTokens() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "create-token", Method: http.MethodPost, Path: Path + "/apps/{app}/tokens", Summary: "Make a login token for a user of an app",
		Description: "To try something: whoever has it is that user for an hour. Users in earnest get theirs from the customer's backend.",
		Tags:        []string{"Apps"}, DefaultStatus: http.StatusCreated, Errors: []int{http.StatusBadRequest, http.StatusNotFound},
	}, func(ctx context.Context, in *struct {
		AppInput
		Body NewToken
	},
	) (*output[Token], error) {
		app, ok := a.Registry.App(in.App)
		if !ok {
			return nil, a.fail(registry.ErrNotFound, "app")
		}
		if !call.UserID(in.Body.UserID).Valid() {
			return nil, huma.Error422UnprocessableEntity("user_id must have 1 to 32 bytes: ASCII letters, digits, spaces and !#$%&()+-:;<=.>?@[]^_{}|~")
		}
		now := time.Now()
		token, err := auth.NewToken04(app.ID, in.Body.UserID, app.Secret.Current, now, tokenTTL, "")
		if err != nil {
			return nil, a.fail(err, "token")
		}
		if err := a.Store.AddAudit(ctx, by(ctx).Audit("token.create", userTarget(app.ID, in.Body.UserID), struct{}{})); err != nil {
			return nil, a.fail(err, "token")
		}
		return &output[Token]{Token{Token: token, ExpiresAtMS: int64(call.At(now.Add(tokenTTL)))}}, nil
	})
}
