package test

import (
	"testing"
	"time"
)

// TestKilledLater kills a Go broker that has just acknowledged messages that are
// due later and halves of transactions, twice, while it delivers them and asks
// for them: each is there once in the end.
func TestKilledLater(t *testing.T) {
	t.Parallel()
	f := newFolder(t, nil, map[string]string{"transactionCheckInterval": "300", "transactionTimeOut": "1"})
	n := f.start(false)
	n.sendLater()
	n.sendHalves()
	n.stop(true)
	n = f.start(false)
	n.answerChecks()
	n.awaitQueue(laterTopic, laterCount/3)
	n.stop(true)
	n = f.start(false)
	started := time.Now()
	n.answerChecks()
	n.checkLater(started)
	n.checkEnded(false)
	n.stop(false)
}
