package adminclient

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"reflect"
	"strconv"

	"github.com/ringback/ringback/internal/adminapi"
)

// maxPage is the length of the longest page that the API gives.
const maxPage = 500

// list walks through a list of the API, page by page, at most limit items of
// it; 0: all. An error is the last element.
func list[T any](ctx context.Context, c *Client, path string, query url.Values, limit int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		if query == nil {
			query = url.Values{}
		}
		for left := limit; ; {
			size := maxPage
			if limit > 0 {
				size = min(left, maxPage)
			}
			query.Set("limit", strconv.Itoa(size))
			var page adminapi.Page[T]
			if err := c.do(ctx, http.MethodGet, path, query, nil, &page); err != nil {
				yield(none, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
				if left--; left == 0 && limit > 0 {
					return
				}
			}
			if page.Next == "" {
				return
			}
			query.Set("cursor", page.Next)
		}
	}
}

// get reads one thing.
func get[T any](ctx context.Context, c *Client, path string) (*T, error) {
	return call[T](ctx, c, http.MethodGet, path, nil)
}

// call makes a request and reads the answer.
func call[T any](ctx context.Context, c *Client, method, path string, in any) (*T, error) {
	out := new(T)
	if err := c.do(ctx, method, path, nil, in, out); err != nil {
		return nil, err
	}
	return out, nil
}

// values makes the query parameters of a struct: its fields that are not zero,
// by their tags "query".
func values(v any) url.Values {
	out := url.Values{}
	s := reflect.ValueOf(v)
	for i := range s.NumField() {
		name, value := s.Type().Field(i).Tag.Get("query"), s.Field(i)
		if name == "" || value.IsZero() {
			continue
		}
		switch value.Kind() {
		case reflect.Slice:
			for j := range value.Len() {
				out.Add(name, value.Index(j).String())
			}
		case reflect.String:
			out.Set(name, value.String())
		case reflect.Uint32:
			out.Set(name, strconv.FormatUint(value.Uint(), 10))
		default:
			out.Set(name, strconv.FormatInt(value.Int(), 10))
		}
	}
	return out
}

func number[T ~int64 | ~uint32](n T) string { return strconv.FormatInt(int64(n), 10) }

// Collect reads a list to its end.
func Collect[T any](seq iter.Seq2[T, error]) ([]T, error) {
	var items []T
	for item, err := range seq {
		if err != nil {
			return items, err
		}
		items = append(items, item)
	}
	return items, nil
}
