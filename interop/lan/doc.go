// Package lan holds tests in which ECHONET Lite programs by others and the built meterseal command meet on a LAN: a
// bridge and hosts in network namespaces that each test makes for itself, so that every program has port 3610 to itself.
//
// The others are the npm packages echonet-lite and node-echonet-lite. They also decode, as parties who were not asked to
// agree, every datagram that a tap on the meter's port of the bridge heard: tshark has no dissector for ECHONET Lite.
//
// The tests need Linux, root, iproute2 and node, and npm unless "npm install" was run one directory above. Without they
// are skipped; with CI=true what is missing is installed, or they fail.
package lan
