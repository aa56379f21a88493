package state

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// stored is a message of a stream.
type stored struct {
	Sequence uint64    `json:"seq"`
	Header   []byte    `json:"hdrs"`
	Data     []byte    `json:"data"`
	Time     time.Time `json:"time"`
}

// lastOfLeader is the last message on a subject by the server that leads the stream; jetstream.ErrMsgNotFound where there is
// none. What the client reads may come from any replica, also from one that has not heard of a write which was acknowledged
// just now. So whoever does not find something asks here before saying that it does not exist.
func lastOfLeader(ctx context.Context, js jetstream.JetStream, stream, subject string) (stored, error) {
	ask, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return stored{}, err
	}
	msg, err := js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, ask)
	if err != nil {
		return stored{}, err
	}
	var got struct {
		Message *stored             `json:"message"`
		Error   *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &got); err != nil {
		return stored{}, fmt.Errorf("stream %s: %w", stream, err)
	}
	switch {
	case got.Error != nil && got.Error.ErrorCode != jetstream.JSErrCodeMessageNotFound:
		return stored{}, got.Error
	case got.Message == nil:
		return stored{}, jetstream.ErrMsgNotFound
	}
	return *got.Message, nil
}
