package match

// symbol is what a text consists of: bytes at first, names of substrings in the
// recursion.
type symbol interface{ byte | int32 }

// suffixes returns the suffixes of text in lexical order, each as the offset it
// starts at. It sorts by induction (Nong, Zhang and Chan, "Linear Suffix Array
// Construction by Almost Pure Induced-Sorting", 2009): time and memory are
// linear in the length.
func suffixes(text []byte) []int32 {
	sorted := make([]int32, len(text))
	newInduction(text, 256).sort(sorted)
	return sorted
}

// An induction sorts the suffixes of one text.
//
// A suffix is rising when it sorts before the suffix one symbol on, else
// falling; behind the last symbol stands an end smaller than every symbol. A
// valley is a rising suffix after a falling one. The order of the valleys alone
// decides the order of all.
type induction[T symbol] struct {
	text   []T
	rising []bool
	count  []int32 // of suffixes by first symbol
	edge   []int32 // where the next suffix with a first symbol goes
}

// none marks a place that no suffix has taken yet.
const none = -1

func newInduction[T symbol](text []T, symbols int) *induction[T] {
	x := &induction[T]{text: text, rising: make([]bool, len(text)), count: make([]int32, symbols), edge: make([]int32, symbols)}
	for i := len(text) - 1; i >= 0; i-- {
		x.count[text[i]]++
		if i+1 < len(text) {
			x.rising[i] = text[i] < text[i+1] || text[i] == text[i+1] && x.rising[i+1]
		}
	}
	return x
}

func (x *induction[T]) valley(i int) bool { return i > 0 && x.rising[i] && !x.rising[i-1] }

// sort fills sorted, which has the length of the text.
func (x *induction[T]) sort(sorted []int32) {
	var valleys []int32 // in the order of the text
	for i := range x.text {
		if x.valley(i) {
			valleys = append(valleys, int32(i)) // images are shorter than 2 GiB
		}
	}
	x.induce(sorted, valleys)
	names, distinct := x.name(sorted, len(valleys))
	order := make([]int32, len(valleys))
	if distinct == len(valleys) {
		for i, name := range names {
			order[name] = int32(i)
		}
	} else {
		newInduction(names, distinct).sort(order)
	}
	for i, v := range order {
		order[i] = valleys[v]
	}
	x.induce(sorted, order)
}

// induce derives the places of all suffixes from the order of the valleys. With
// valleys in any order, it sorts the valleys by their symbols up to the next
// valley.
func (x *induction[T]) induce(sorted, valleys []int32) {
	for i := range sorted {
		sorted[i] = none
	}
	x.ends()
	for i := len(valleys) - 1; i >= 0; i-- {
		x.putBack(sorted, valleys[i])
	}
	x.starts()
	if n := len(x.text); n > 0 {
		x.putFront(sorted, int32(n-1)) // the end precedes all, so what precedes the end is first
	}
	for _, v := range sorted {
		if v > 0 && !x.rising[v-1] {
			x.putFront(sorted, v-1)
		}
	}
	x.ends()
	for i := len(sorted) - 1; i >= 0; i-- {
		if v := sorted[i]; v > 0 && x.rising[v-1] {
			x.putBack(sorted, v-1)
		}
	}
}

func (x *induction[T]) putFront(sorted []int32, suffix int32) {
	c := x.text[suffix]
	sorted[x.edge[c]] = suffix
	x.edge[c]++
}

func (x *induction[T]) putBack(sorted []int32, suffix int32) {
	c := x.text[suffix]
	x.edge[c]--
	sorted[x.edge[c]] = suffix
}

// starts sets every edge to the first place of its symbol.
func (x *induction[T]) starts() {
	var sum int32
	for c, n := range x.count {
		x.edge[c] = sum
		sum += n
	}
}

// ends sets every edge behind the last place of its symbol.
func (x *induction[T]) ends() {
	var sum int32
	for c, n := range x.count {
		sum += n
		x.edge[c] = sum
	}
}

// name numbers the valleys by the order of their symbols up to the next valley;
// equal ones share a number. The names are in the order of the text.
func (x *induction[T]) name(sorted []int32, valleys int) (names []int32, distinct int) {
	byPlace := make([]int32, len(x.text))
	last := -1
	for _, v := range sorted {
		if !x.valley(int(v)) {
			continue
		}
		if last < 0 || !x.sameUpToValley(last, int(v)) {
			distinct++
		}
		last = int(v)
		byPlace[v] = int32(distinct)
	}
	names = make([]int32, 0, valleys)
	for _, name := range byPlace {
		if name > 0 {
			names = append(names, name-1)
		}
	}
	return names, distinct
}

// sameUpToValley compares the symbols from two valleys to their next valleys.
func (x *induction[T]) sameUpToValley(a, b int) bool {
	for i := 0; ; i++ {
		if a+i == len(x.text) || b+i == len(x.text) || x.text[a+i] != x.text[b+i] || x.rising[a+i] != x.rising[b+i] {
			return false
		}
		if i > 0 && (x.valley(a+i) || x.valley(b+i)) {
			return x.valley(a+i) && x.valley(b+i)
		}
	}
}
