package profiles

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// refuseRatio is the share of a disk in use above which a broker refuses
// writes (Java's rocketmq.broker.diskSpaceWarningLevelRatio).
const refuseRatio = 0.90

// leastFree is what a run needs at the very least.
const leastFree = 64 << 20

// CheckDisk reports that the disk of a folder is too full for a broker's data,
// in one sentence that says what to do, or nil.
func CheckDisk(folder string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return fmt.Errorf("looking at the disk of %s: %w", folder, err)
	}
	return judgeDisk(folder, st.Blocks, st.Bfree, st.Bavail, uint64(st.Bsize))
}

// judgeDisk counts as Java does: used over used and usable, blocks kept for the
// super user left out.
func judgeDisk(folder string, total, free, usable, block uint64) error {
	used := total - free
	if used+usable == 0 {
		return nil // a file system without blocks, as in some containers
	}
	share := float64(used) / float64(used+usable)
	if share < refuseRatio && usable*block >= leastFree {
		return nil
	}
	return fmt.Errorf("the disk of %s is full (%.0f%% used, %d MB free; brokers refuse writes above %.0f%%): free space, or put the data elsewhere with --data or TMPDIR",
		folder, share*100, usable*block>>20, refuseRatio*100)
}
