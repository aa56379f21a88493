package edge

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
)

// enrolment lets devices join that cannot reach the hub: it passes their requests on, which only the hub can
// answer, and says that they are to connect here.
type enrolment struct {
	e      *Edge
	server *http.Server
	addr   net.Addr
}

const (
	maxEnrol      = 64 << 10
	enrolPatience = 20 * time.Second
)

func (e *Edge) startEnrolment() (*enrolment, error) {
	l, err := net.Listen("tcp", e.cfg.Enrol)
	if err != nil {
		return nil, fmt.Errorf("edge %s: enrolment: %w", e.name, err)
	}
	en := &enrolment{e: e, addr: l.Addr()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/enrol", en.pass)
	en.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 20 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	serve := func() error { return en.server.Serve(l) }
	if !e.cfg.Insecure {
		cert, err := e.certificate()
		if err != nil {
			_ = l.Close()
			return nil, err
		}
		en.server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		serve = func() error { return en.server.ServeTLS(l, "", "") }
	}
	go func() {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			e.log.Error("enrolment", "error", err)
		}
	}()
	return en, nil
}

// EnrolAddress is where devices that cannot reach the hub join; empty: nowhere.
func (e *Edge) EnrolAddress() string {
	if e.enrol == nil {
		return ""
	}
	return e.enrol.addr.String()
}

func (en *enrolment) close() { _ = en.server.Close() }

// problem answers as RFC 9457 wants, which is what the hub's API does.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "title": http.StatusText(status), "detail": detail})
}

func (en *enrolment) pass(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEnrol))
	if err != nil {
		problem(w, http.StatusRequestEntityTooLarge, err.Error())
		return
	}
	var request fleet.EnrolRequest
	if err := json.Unmarshal(body, &request); err != nil {
		problem(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	request.Via = "" // the hub would answer with an address; this edge knows its own
	if body, err = json.Marshal(request); err != nil {
		problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), enrolPatience)
	defer cancel()
	msg, err := en.e.nc.RequestWithContext(ctx, fleet.EnrolSubject, body)
	if err != nil {
		text := "the hub does not answer: " + err.Error()
		if errors.Is(err, nats.ErrNoResponders) {
			text = "the hub cannot be reached from this edge at the moment; try again"
		}
		problem(w, http.StatusBadGateway, text)
		return
	}
	if why := msg.Header.Get(fleet.ErrorHeader); why != "" {
		problem(w, http.StatusForbidden, why)
		return
	}
	var answer fleet.Enrolment
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		problem(w, http.StatusBadGateway, "the hub's answer cannot be read: "+err.Error())
		return
	}
	answer.Servers, answer.Via = en.e.Addresses(), en.e.name
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}
