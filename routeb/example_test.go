package routeb_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/meterseal/meterseal/routeb"
)

func ExampleDial() {
	credentials, err := routeb.ReadCredentials("/etc/meterseal/route-b.toml")
	if err != nil {
		log.Fatal(err)
	}
	conn, err := routeb.Dial(context.Background(), routeb.Config{
		Port:        "/dev/serial/by-id/usb-Wi-SUN_dongle",
		Credentials: credentials,
		OnChange: func(s routeb.Status) {
			fmt.Fprintln(os.Stderr, s.State, s.Err, routeb.Advice(s.Err))
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()

	// The instantaneous power, as ECHONET Lite has it.
	if _, err := conn.WriteTo([]byte("\x10\x81\x00\x01\x05\xff\x01\x02\x88\x01\x62\x01\xe7\x00"), conn.Meter()); err != nil {
		log.Fatal(err)
	}
	answer := make([]byte, routeb.MaxDatagram)
	n, from, err := conn.ReadFrom(answer)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("% x from %v\n", answer[:n], from)
}
