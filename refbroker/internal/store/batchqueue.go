package store

import "sort"

// offsetByTime searches a batch queue by store time in ms as Java does: only in
// the last file whose first unit is not newer, or in the first file; of the
// messages of one record the first one stands for all. A time that is not before
// the last unit of that file finds that unit.
func (q *queue) offsetByTime(ms int64, upper bool) int64 {
	base, err := q.baseByTime(ms, upper)
	if err != nil {
		base = -1
	}
	return min(max(base, q.min.Load()), q.max.Load())
}

// baseByTime returns -1 if nothing is found.
func (q *queue) baseByTime(ms int64, upper bool) (int64, error) {
	from, to, err := q.fileByTime(ms)
	if err != nil || from >= to {
		return -1, err
	}
	last, err := q.unit(to - 1)
	if err != nil || ms >= last.time {
		return last.base, err
	}
	n, err := q.searchTime(from, to-1, ms, upper)
	if err != nil || n < 0 {
		return -1, err
	}
	u, err := q.unit(n)
	return u.base, err
}

// fileByTime returns the units of the file to search.
func (q *queue) fileByTime(ms int64) (from, to int64, err error) {
	first, end, per := q.firstUnit(), q.end.Load(), q.unitsPerFile()
	files := int((end - first + per - 1) / per)
	k := sort.Search(files, func(i int) bool {
		if err != nil {
			return true
		}
		var u unit
		u, err = q.unit(first + int64(i)*per)
		return u.time > ms
	})
	from = first + int64(max(k-1, 0))*per
	return from, min(from+per, end), err
}

// searchTime is Java's binarySearchRight over units left to right: the first
// one that is not older, which with upper is not always the first, or -1.
func (q *queue) searchTime(left, right, ms int64, upper bool) (int64, error) {
	for left <= right {
		mid := (left + right) / 2
		u, err := q.unit(mid)
		if err != nil {
			return -1, err
		}
		switch newer := u.time >= ms; {
		case (mid == right || mid == left) && newer:
			return mid, nil
		case mid == right:
			return -1, nil
		case mid == left:
			left = mid + 1
		case upper && u.time <= ms:
			left = mid
		case upper:
			right = mid - 1
		case newer:
			right = mid
		default:
			left = mid + 1
		}
	}
	return -1, nil
}
