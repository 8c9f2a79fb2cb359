package wire

// Gather has sends wait for Release. A broker that there is no connection to at
// the moment is left out: what is sent to it leaves once there is one.
func (p *producer) Gather() {
	for _, addr := range p.route.Load().masters {
		if c, err := p.client.Conn(addr); err == nil {
			c.Gather()
			p.gathered = append(p.gathered, c)
		}
	}
}

// Release lets what was gathered leave, in one write for each broker.
func (p *producer) Release() {
	for _, c := range p.gathered {
		c.Release()
	}
	p.gathered = p.gathered[:0]
}
