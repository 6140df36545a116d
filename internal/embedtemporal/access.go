package embedtemporal

import (
	"context"
	"crypto/subtle"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// readPrefixes are the frontend calls that change nothing. Query runs a workflow's read-only handler.
var readPrefixes = []string{"Get", "List", "Describe", "Count", "Scan", "Query"}

// uiGate keeps the UI's certificate from being a way around our sign-in: anybody on the machine can reach the UI's port,
// but only requests that came through UIHandler carry the secret, and even those may only read.
func uiGate(secret string) grpc.UnaryServerInterceptor {
	want := []byte("Bearer " + secret)
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if !isUI(ctx) {
			return next(ctx, req)
		}
		got := metadata.ValueFromIncomingContext(ctx, "authorization")
		if len(got) != 1 || subtle.ConstantTimeCompare([]byte(got[0]), want) != 1 {
			return nil, status.Error(codes.PermissionDenied, "open this page through pgdrover")
		}
		method := info.FullMethod[strings.LastIndexByte(info.FullMethod, '/')+1:]
		for _, prefix := range readPrefixes {
			if strings.HasPrefix(method, prefix) {
				return next(ctx, req)
			}
		}
		return nil, status.Error(codes.PermissionDenied, "this view is read-only: use pgdrover's own pages")
	}
}

func isUI(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return false
	}
	return info.State.PeerCertificates[0].Subject.CommonName == uiName
}
