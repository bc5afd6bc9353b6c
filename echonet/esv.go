package echonet

import "fmt"

// ESV is a service code (ECHONET Lite Part II, 3.2.5).
type ESV byte

// The services. Each request is followed by its answer and by the answer that
// says "service not available" (SNA).
const (
	SetI      ESV = 0x60 // write, no answer unless something is refused
	SetC      ESV = 0x61 // write, answered
	Get       ESV = 0x62 // read
	INFREQ    ESV = 0x63 // ask for a notification
	SetGet    ESV = 0x6E // write, then read, in one message
	SetRes    ESV = 0x71 // answer to SetC
	GetRes    ESV = 0x72 // answer to Get
	INF       ESV = 0x73 // notification, or the answer to INFREQ
	INFC      ESV = 0x74 // notification that is to be answered, unicast only
	INFCRes   ESV = 0x7A // answer to INFC
	SetGetRes ESV = 0x7E // answer to SetGet
	SetISNA   ESV = 0x50
	SetCSNA   ESV = 0x51
	GetSNA    ESV = 0x52
	INFSNA    ESV = 0x53 // refusal of INFREQ
	SetGetSNA ESV = 0x5E
)

// String returns the name that the specification uses, such as "Get_SNA", and
// the code in hexadecimal for a reserved one.
func (e ESV) String() string {
	switch e {
	case SetI:
		return "SetI"
	case SetC:
		return "SetC"
	case Get:
		return "Get"
	case INFREQ:
		return "INF_REQ"
	case SetGet:
		return "SetGet"
	case SetRes:
		return "Set_Res"
	case GetRes:
		return "Get_Res"
	case INF:
		return "INF"
	case INFC:
		return "INFC"
	case INFCRes:
		return "INFC_Res"
	case SetGetRes:
		return "SetGet_Res"
	case SetISNA:
		return "SetI_SNA"
	case SetCSNA:
		return "SetC_SNA"
	case GetSNA:
		return "Get_SNA"
	case INFSNA:
		return "INF_SNA"
	case SetGetSNA:
		return "SetGet_SNA"
	}
	return fmt.Sprintf("ESV(%02X)", byte(e))
}

// IsRequest reports whether a node acts on e: SetI, SetC, Get, INFREQ, SetGet
// and INFC.
func (e ESV) IsRequest() bool {
	switch e {
	case SetI, SetC, Get, INFREQ, SetGet, INFC:
		return true
	}
	return false
}

// IsSNA reports whether e says that a service, or a part of it, was refused.
func (e ESV) IsSNA() bool {
	switch e {
	case SetISNA, SetCSNA, GetSNA, INFSNA, SetGetSNA:
		return true
	}
	return false
}

// Known reports whether the specification defines e; the rest is reserved.
func (e ESV) Known() bool {
	switch e {
	case SetRes, GetRes, INF, INFCRes, SetGetRes:
		return true
	}
	return e.IsRequest() || e.IsSNA()
}

// twoLists reports whether a message of this service carries a second list of
// properties.
func (e ESV) twoLists() bool { return e == SetGet || e == SetGetRes || e == SetGetSNA }

// answers returns the services that answer the request e: done and refused.
// For SetI done is 0, as it has none; for INFC refused is 0.
func (e ESV) answers() (done, refused ESV) {
	switch e {
	case SetI:
		return 0, SetISNA
	case SetC:
		return SetRes, SetCSNA
	case Get:
		return GetRes, GetSNA
	case INFREQ:
		return INF, INFSNA
	case SetGet:
		return SetGetRes, SetGetSNA
	case INFC:
		return INFCRes, 0
	}
	return 0, 0
}
