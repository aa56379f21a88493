package identity

import (
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/isomer-iot/isomer/fleet"
)

const name = "{{name()}}"

// scope is what nodes of a layer may do.
func scope(layer fleet.Layer, key string) *jwt.UserScope {
	s := jwt.NewUserScope()
	s.Key, s.Role = key, string(layer)
	t := &s.Template
	t.Pub.Allow = jwt.StringList{
		fleet.TelemetrySubject(name, ">"),
		fleet.FetchSubject("*", "module", "*"),
		fleet.FetchSubject("*", "trust", "*"),
		fleet.FetchSubject("*", "desired", name),
	}
	t.Sub.Allow = jwt.StringList{
		fleet.DesiredSubject(name), fleet.DesiredSubject(name) + ".>",
		fleet.Inbox(name) + ".>",
		"call." + name + ".>",
		"call.any." + string(layer) + ".>",
		"$SRV.>", // how micro services are found
	}
	for _, o := range fleet.OwnSubjects() {
		t.Pub.Allow.Add(o + "." + name + ".>")
		t.Sub.Allow.Add(o + "." + name + ".>")
	}
	// Answers to calls go to the caller's inbox, whatever it is, once for each call.
	t.Resp = &jwt.ResponsePermission{MaxMsgs: 1, Expires: time.Minute}
	t.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeStandard, jwt.ConnectionTypeWebsocket}
	if layer == fleet.Edge {
		edge(t)
	}
	return s
}

// edge widens the permissions to those of a leaf node, which speaks for its devices: it carries calls to them, and
// their answers to whoever called; asks for their desired states; and hands its telemetry to the hub's stream.
// It has no right to the hub's JetStream, hears no answer that is not for itself, and cannot tell a node what to run.
func edge(t *jwt.UserPermissionLimits) {
	t.AllowedConnectionTypes.Add(jwt.ConnectionTypeLeafnode, jwt.ConnectionTypeLeafnodeWS)
	t.Pub.Allow.Add(
		fleet.FetchSubject("hub", "desired", "*"), fleet.FetchSubject("hub", "account", "*"), fleet.FetchSubject("hub", "link", name),
		fleet.EnrolSubject,
		fleet.CallInbox+".>",  // answers of its devices to the hub's calls
		"$JS.S.>",             // where the hub's stream draws telemetry to: random subjects
		"$JSC.R."+name+".*.>", // answers of its own JetStream, to requests about its own streams
	)
	t.Sub.Allow.Add(
		fleet.DesiredSubject("*"), fleet.AccountSubject(),
		"call.>",
		"$JS."+name+".API.>", "$JS.FC.>", // its own JetStream domain, and the flow control of what is drawn from it
	)
	t.Resp = &jwt.ResponsePermission{MaxMsgs: jwt.NoLimit, Expires: time.Minute}
}

// local is for an edge's own work on its own broker, with all rights, JetStream's included. It counts within
// the process alone: over any network, and so at the hub, a server refuses it.
func local(key string) *jwt.UserScope {
	s := jwt.NewUserScope()
	s.Key, s.Role = key, "local"
	s.Template.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeInProcess}
	return s
}

// mqtt is for a microcontroller that speaks MQTT alone. Its claims are its password, since MQTT has no place for a
// signature; so they open nothing else, and end. The subjects on which a server delivers to sessions of any
// client are open to it, as every one of them needs: over MQTT they cannot be subscribed to, over NATS they would
// be the mail of the others. No other claims have them.
func mqtt(key string) *jwt.UserScope {
	s := jwt.NewUserScope()
	s.Key, s.Role = key, "mqtt"
	t := &s.Template
	t.BearerToken = true
	t.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeMqtt, jwt.ConnectionTypeMqttWS}
	t.Pub.Allow = jwt.StringList{fleet.TelemetrySubject(name, ">")}
	t.Sub.Allow = jwt.StringList{fleet.DesiredSubject(name), fleet.DesiredSubject(name) + ".>", "$MQTT.sub.>"}
	for _, o := range fleet.OwnSubjects() {
		t.Pub.Allow.Add(o + "." + name + ".>")
		t.Sub.Allow.Add(o+"."+name, o+"."+name+".>") // "x/#" is x as well
	}
	return s
}
