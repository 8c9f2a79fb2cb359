// Command picture runs a program on a terminal of its own and draws the screen as
// an SVG: the pictures of a terminal in the README are made by it.
//
//	go run ./test/picture -o live.svg -at 'rush' -- bin/rmqbench run flashsale.yaml
//
// It knows what rmqbench writes: text, colours, cursor up, erasing to the end of
// line and screen.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	var o options
	flag.StringVar(&o.out, "o", "terminal.svg", "`FILE` of the picture")
	at := flag.String("at", "", "draw the last screen that matches this `REGEXP`; empty: the screen at the end")
	flag.IntVar(&o.columns, "columns", 100, "width of the terminal")
	flag.IntVar(&o.rows, "rows", 40, "lines of the terminal")
	flag.IntVar(&o.first, "first", 0, "draw no more than so many lines, from the first that was ever written")
	flag.Parse()
	var err error
	if o.at, err = regexp.Compile(*at); err == nil {
		err = o.draw(flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

type options struct {
	out           string
	at            *regexp.Regexp
	columns, rows int
	first         int
}

// draw runs the program to its end and writes the picture.
func (o *options) draw(command []string) error {
	if len(command) == 0 {
		return errors.New("want a command behind --")
	}
	terminal, side, err := openTerminal(o.columns, o.rows)
	if err != nil {
		return fmt.Errorf("opening a terminal: %w", err)
	}
	defer terminal.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = side, side, side
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "NO_COLOR=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	_ = side.Close()
	shot := o.watch(terminal)
	_ = cmd.Wait() // a run that missed a threshold is worth a picture too
	if shot == nil {
		return fmt.Errorf("no screen matches %q", o.at)
	}
	return os.WriteFile(o.out, svg(shot, o.columns), 0o644)
}

// watch follows the screen until the program ends, and returns the lines to draw.
func (o *options) watch(terminal io.Reader) []line {
	s := &screen{columns: o.columns}
	var shot []line
	s.redraw = func() {
		if lines := s.visible(o.rows); o.at.MatchString(text(lines)) {
			shot = lines
		}
	}
	buffer := make([]byte, 32<<10)
	for {
		n, err := terminal.Read(buffer)
		s.write(buffer[:n])
		if err == nil {
			continue
		}
		s.redraw() // the end, told by EIO: the other side is closed
		if o.first > 0 && shot != nil {
			shot = s.lines[:min(o.first, len(s.lines))]
		}
		return shot
	}
}

// openTerminal makes a pseudo terminal, see pty(7): ours and the program's side.
func openTerminal(columns, rows int) (ours, theirs *os.File, err error) {
	ours, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(ours.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(columns)})
	}
	if err == nil {
		theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		_ = ours.Close()
	}
	return ours, theirs, err
}
