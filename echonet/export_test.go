package echonet

// Leads returns how often a caller has read the node's sockets in the place of
// Serve.
func Leads(n *Node) (sum uint32) {
	for _, p := range n.ports {
		sum += p.leads.Load()
	}
	return sum
}
