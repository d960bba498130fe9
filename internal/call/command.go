package call

// Command is something that somebody wants to happen to a call. The commands
// are sealed: they are the types of this file.
type Command interface {
	// malformed says what is wrong with the command itself, whatever call it
	// is for.
	malformed() *RefusedError
}

// Actor is who gives a command, and from which device.
type Actor struct {
	User    UserID
	Session SessionID // "" for the server API
}

// Create invites users to a new call. It is the only command that takes no
// existing call.
type Create struct {
	Actor
	ID               ID
	App              uint32
	Invitees         []UserID
	Uninvitable      []UserID // those of the invitees who are unknown or logged out
	Timeout          int      // seconds
	Mode             Mode
	ExtendedData     string
	NotReceivedCheck bool
	Push             []byte
	MaxDuration      int64 // milliseconds; of advanced calls
}

// Receive says that a device of an invitee has got the invitation.
type Receive struct{ Actor }

// Accept takes the call.
type Accept struct {
	Actor
	ExtendedData string
}

// Reject declines the call.
type Reject struct {
	Actor
	ExtendedData string
}

// Cancel takes back invitations: those of the named users, or all.
type Cancel struct {
	Actor
	Names        []UserID // empty: all
	ExtendedData string
	Push         []byte
}

// Invite brings more users into an advanced call.
type Invite struct {
	Actor
	Invitees    []UserID
	Uninvitable []UserID
	Push        []byte
}

// Join enters an advanced call, or moves a user's part in it to this device.
type Join struct {
	Actor
	ExtendedData string
	InvitedOnly  bool // the app's join policy
}

// Leave quits an advanced call.
type Leave struct {
	Actor
	ExtendedData string
	Push         []byte
}

// End ends an advanced call for everybody.
type End struct {
	Actor
	ExtendedData string
	Push         []byte
}

// Expire carries out what is due: the timeouts of one instant, or its
// not-received checks, or the maximum duration. Whatever is due at a later
// instant needs another Expire. Before its time it changes nothing, so it
// does no harm when it is early, late or doubled.
type Expire struct {
	CallerLost bool // the caller's connection is lost at this moment
}

// CallerGone says that the caller's last session logged out or went offline.
// It changes nothing once somebody has accepted.
type CallerGone struct{}

// ParticipantGone says that all sessions of an accepted user of an advanced
// call have been gone for too long. It changes nothing for others.
type ParticipantGone struct{ User UserID }

func (cmd Create) malformed() *RefusedError {
	switch {
	case cmd.Mode != General && cmd.Mode != Advanced:
		return refuse(InvalidParameter, "mode is %d, it must be 0 (general) or 1 (advanced)", int(cmd.Mode))
	case cmd.Timeout < 1 || cmd.Timeout > MaxTimeout:
		return refuse(InvalidParameter, "timeout is %d, it must be 1 to %d seconds", cmd.Timeout, MaxTimeout)
	}
	return first(checkExtendedData(cmd.ExtendedData), checkInvitees(cmd.User, cmd.Invitees))
}

func (cmd Cancel) malformed() *RefusedError {
	names, err := distinct(cmd.Names)
	switch {
	case err != nil:
		return err
	case len(names) > MaxCancelNames:
		return refuse(InvalidParameter, "%d users in one cancel, the limit is %d", len(names), MaxCancelNames)
	}
	return checkExtendedData(cmd.ExtendedData)
}

func (cmd Invite) malformed() *RefusedError {
	return checkInvitees(cmd.User, cmd.Invitees)
}

func (cmd Accept) malformed() *RefusedError { return checkExtendedData(cmd.ExtendedData) }
func (cmd Reject) malformed() *RefusedError { return checkExtendedData(cmd.ExtendedData) }
func (cmd Join) malformed() *RefusedError   { return checkExtendedData(cmd.ExtendedData) }
func (cmd Leave) malformed() *RefusedError  { return checkExtendedData(cmd.ExtendedData) }
func (cmd End) malformed() *RefusedError    { return checkExtendedData(cmd.ExtendedData) }

func (Receive) malformed() *RefusedError         { return nil }
func (Expire) malformed() *RefusedError          { return nil }
func (CallerGone) malformed() *RefusedError      { return nil }
func (ParticipantGone) malformed() *RefusedError { return nil }
