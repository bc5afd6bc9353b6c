package echonet_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/meterseal/meterseal/echonet"
)

// A device of your own: a ventilation fan, class 0133, with an air flow that can
// be set, and a mode that changes by itself. Real devices listen on every
// address at port 3610: ListenConfig{}.
func ExampleNewDevice() {
	id := echonet.Identity{Product: "FAN1", Serial: "000000000042"}
	flow := echonet.Entry{EPC: 0xA0, Value: []byte{0x41}, Announce: true, Write: func(edt []byte) bool {
		return len(edt) == 1 && (edt[0] == 0x41 || edt[0] >= 0x31 && edt[0] <= 0x38) // automatic, or 1 to 8
	}}
	automatic := echonet.Entry{EPC: 0xBF, Value: []byte{0x41}}
	fan := echonet.NewDevice(echonet.EOJ{0x01, 0x33, 0x01},
		append(echonet.SuperClass(id, echonet.Version('R', 1)), flow, automatic)...)

	links, err := echonet.Listen(echonet.ListenConfig{Addrs: []string{"127.0.0.1:0"}})
	if err != nil {
		log.Fatal(err)
	}
	node := echonet.New(echonet.Config{Links: links, Identity: id, Objects: []echonet.Object{fan}})
	defer node.Close()
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- node.Serve(ctx) }()

	ask(links[0].LocalAddr(), fan.EOJ(), 0x80, 0xA0)

	fan.Update(0xBF, []byte{0x42}) // the fan changed its mode, and tells the others
	if err := node.Notify(fan.EOJ(), 0xBF); err != nil {
		log.Fatal(err)
	}
	stop()
	fmt.Println("served:", <-served)
	// Output:
	// 80 = 30
	// A0 = 41
	// served: <nil>
}

// A controller: it asks a node for two properties and writes one.
func ExampleNode_Get() {
	meter, stop := startMeter() // somewhere on the network
	defer stop()

	links, err := echonet.Listen(echonet.ListenConfig{Addrs: []string{"127.0.0.1:0"}})
	if err != nil {
		log.Fatal(err)
	}
	ctl := echonet.New(echonet.Config{Links: links, Objects: []echonet.Object{echonet.NewController(echonet.Identity{})}})
	defer ctl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go ctl.Serve(ctx)

	values, err := ctl.Get(ctx, meter, echonet.LowVoltageMeter, 0xE7, 0x88)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range values {
		fmt.Printf("%02X = %X\n", p.EPC, p.EDT)
	}
	err = ctl.SetC(ctx, meter, echonet.LowVoltageMeter, echonet.Property{EPC: 0xE7, EDT: []byte{0, 0, 0, 0}})
	fmt.Println(err)
	// Output:
	// E7 = 000001F8
	// 88 = 42
	// echonet: SetC_SNA of 0288.01 refused E7
}

// startMeter serves a meter on loopback.
func startMeter() (addr net.Addr, stop func()) {
	meter := echonet.NewDevice(echonet.LowVoltageMeter, append(echonet.SuperClass(echonet.Identity{}, echonet.Version('F', 0)),
		echonet.Entry{EPC: 0xE7, Value: []byte{0, 0, 1, 0xF8}})...)
	links, err := echonet.Listen(echonet.ListenConfig{Addrs: []string{"127.0.0.1:0"}})
	if err != nil {
		log.Fatal(err)
	}
	node := echonet.New(echonet.Config{Links: links, Objects: []echonet.Object{meter}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- node.Serve(ctx) }()
	return links[0].LocalAddr(), func() { cancel(); <-done; node.Close() }
}

// ask prints properties of an object.
func ask(addr net.Addr, eoj echonet.EOJ, epcs ...byte) {
	links, err := echonet.Listen(echonet.ListenConfig{Addrs: []string{"127.0.0.1:0"}})
	if err != nil {
		log.Fatal(err)
	}
	node := echonet.New(echonet.Config{Links: links})
	defer node.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- node.Serve(ctx) }()
	defer func() { cancel(); <-done }()
	values, err := node.Get(ctx, addr, eoj, epcs...)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range values {
		fmt.Printf("%02X = %X\n", p.EPC, p.EDT)
	}
}

// A frame by hand, and back.
func ExampleFrame() {
	f := echonet.Frame{
		TID: 1, SEOJ: echonet.Controller, DEOJ: echonet.LowVoltageMeter, ESV: echonet.Get,
		Properties: []echonet.Property{{EPC: 0xE7}},
	}
	b, err := f.AppendBinary(nil)
	fmt.Printf("%x %v\n", b, err)

	var g echonet.Frame
	err = g.UnmarshalBinary(b)
	fmt.Println(g.ESV, g.SEOJ, g.DEOJ, err)
	// Output:
	// 1081000105ff010288016201e700 <nil>
	// Get 05FF.01 0288.01 <nil>
}

func ExampleParsePropertyMap() {
	set, err := echonet.ParsePropertyMap([]byte{2, 0x81, 0xE5})
	fmt.Println(set, set.Has(0xE5), err)
	// Output: 81 E5 true <nil>
}
