import Foundation
import RLWE
import Synchronization
import Testing

@Suite(.serialized) struct ParallelismTests {
    private struct Failure: Error, Equatable { let index: Int }

    @Test("every number once, for any width", arguments: [1, 2, 3, 16], [0, 1, 2, 7, 1000])
    func everyNumber(width: Int, count: Int) {
        Parallelism.width = width
        defer { Parallelism.width = 1 }
        let calls = Mutex<[Int]>([])
        Parallelism.forEach(below: count) { index in calls.withLock { $0.append(index) } }
        #expect(calls.withLock { $0.sorted() } == Array(0..<count))
    }

    @Test("an error ends the work and comes out", arguments: [1, 4])
    func failure(width: Int) {
        Parallelism.width = width
        defer { Parallelism.width = 1 }
        #expect(throws: Failure(index: 3)) {
            try Parallelism.forEach(below: 4) { (index) throws(Failure) in
                if index == 3 { throw Failure(index: index) }
            }
        }
    }

    /// How many calls ran at a time, at most.
    private func mostAtATime() -> Int {
        let calls = Mutex((running: 0, most: 0))
        Parallelism.forEach(below: 40) { _ in
            calls.withLock { $0 = ($0.running + 1, max($0.most, $0.running + 1)) }
            usleep(500)
            calls.withLock { $0.running -= 1 }
        }
        return calls.withLock { $0.most }
    }

    @Test("threads that are occupied are not taken, and are free again afterwards")
    func occupied() throws {
        Parallelism.width = 3
        defer { Parallelism.width = 1 }
        for _ in 0..<3 {
            #expect((1...3).contains(mostAtATime()))
            Parallelism.occupying {
                Parallelism.occupying {
                    #expect((1...2).contains(mostAtATime()))
                    Parallelism.occupying { #expect(mostAtATime() == 1) }
                }
            }
            #expect(throws: Failure.self) { try Parallelism.occupying { throw Failure(index: 0) } }
            #expect(throws: Failure.self) {
                try Parallelism.forEach(below: 9) { (index) throws(Failure) in throw Failure(index: index) }
            }
        }
        // Nothing that is occupied for ever would leave a thread to take.
        var most = 0
        for _ in 0..<200 where most < 2 { most = mostAtATime() }
        #expect(most > 1)
    }

    @Test("a thread that is done is there for other operations while one call still runs")
    func givenBack() {
        Parallelism.width = 3
        defer { Parallelism.width = 1 }
        // Two of three threads are taken. The second number's call ends at once; while the first's runs, an operation
        // elsewhere, which counts as the third, finds an idle one as soon as the second's thread is back.
        let most = Mutex(0)
        Parallelism.forEach(below: 2) { index in
            guard index == 0 else { return }
            for _ in 0..<200 {
                let ended = DispatchSemaphore(value: 0)
                Thread.detachNewThread {
                    let seen = mostAtATime()
                    most.withLock { $0 = max($0, seen) }
                    ended.signal()
                }
                ended.wait()
                if most.withLock({ $0 }) >= 2 { break }
            }
        }
        #expect(most.withLock { $0 } == 2)
    }

    @Test("a call that began alone takes threads that became idle meanwhile")
    func later() {
        Parallelism.width = 2
        defer { Parallelism.width = 1 }
        // All but this one are occupied at its first number, and from then on none.
        let free = DispatchSemaphore(value: 0)
        let (begun, ended) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        Thread.detachNewThread {
            Parallelism.occupying {
                begun.signal()
                free.wait()
            }
            ended.signal()
        }
        begun.wait()
        let calls = Mutex((running: 0, most: 0))
        Parallelism.forEach(below: 20_000) { index in
            if index == 0 {
                free.signal()
                ended.wait()
                return
            }
            guard calls.withLock({ $0.most }) < 2 else { return }
            calls.withLock { $0 = ($0.running + 1, max($0.most, $0.running + 1)) }
            usleep(500)
            calls.withLock { $0.running -= 1 }
        }
        #expect(calls.withLock { $0.most } == 2)
    }

    @Test("a thread without numbers of the outer call joins the inner one", arguments: [0, 1])
    func nested(short: Int) {
        Parallelism.width = 2
        defer { Parallelism.width = 1 }
        // Both calls have begun, each on one of the two threads, before one of them ends.
        let begun = Atomic<Int>(0)
        let most = Mutex(0)
        Parallelism.forEach(below: 2) { index in
            begun.add(1, ordering: .relaxed)
            while begun.load(ordering: .relaxed) < 2 { usleep(100) }
            guard index != short else { return }
            for _ in 0..<200 {
                let seen = mostAtATime()
                most.withLock { $0 = max($0, seen) }
                if seen >= 2 { break }
            }
        }
        #expect(most.withLock { $0 } == 2)
    }

    @Test("calls within calls within calls are all made, by no more threads than there may be", arguments: [2, 3, 8])
    func bounded(width: Int) {
        Parallelism.width = width
        defer { Parallelism.width = 1 }
        let calls = Mutex((running: 0, most: 0, all: 0))
        for _ in 0..<20 {
            Parallelism.forEach(below: 3) { _ in
                Parallelism.forEachPart(of: 5) { part in
                    for _ in part {
                        Parallelism.forEach(below: 7) { _ in
                            calls.withLock {
                                $0 = ($0.running + 1, max($0.most, $0.running + 1), $0.all + 1)
                            }
                            if width < 8 { sched_yield() }
                            calls.withLock { $0.running -= 1 }
                        }
                    }
                }
            }
        }
        #expect(calls.withLock { $0.all } == 20 * 3 * 5 * 7)
        #expect(calls.withLock { $0.most } <= width)
    }

    @Test("operations of several threads leave a thread to each other and lose nothing")
    func several() async {
        Parallelism.width = 3
        defer { Parallelism.width = 1 }
        let sums = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    Parallelism.occupying {
                        let sum = Atomic<Int>(0)
                        for _ in 0..<50 {
                            Parallelism.forEach(below: 4) { outer in
                                Parallelism.forEach(below: 5) { sum.add(outer * $0, ordering: .relaxed) }
                            }
                        }
                        return sum.load(ordering: .relaxed)
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(sums == [Int](repeating: 50 * 6 * 10, count: 8))
        // All places are free again.
        #expect((1...3).contains(mostAtATime()))
        let parts = Mutex(0)
        Parallelism.forEachPart(of: 9) { _ in parts.withLock { $0 += 1 } }
        #expect(parts.withLock { $0 } == 3)
    }

    @Test("an error of an inner call comes out of the outer one")
    func innerFailure() {
        Parallelism.width = 4
        defer { Parallelism.width = 1 }
        for _ in 0..<50 {
            #expect(throws: Failure(index: 11)) {
                try Parallelism.forEach(below: 3) { (outer) throws(Failure) in
                    try Parallelism.forEach(below: 12) { (index) throws(Failure) in
                        if outer == 1, index == 11 { throw Failure(index: index) }
                    }
                }
            }
        }
    }

    @Test("results are in the order of their numbers", arguments: [1, 3])
    func map(width: Int) throws {
        Parallelism.width = width
        defer { Parallelism.width = 1 }
        for count in [0, 1, 500] { #expect(Parallelism.map(below: count) { "\($0)" } == (0..<count).map { "\($0)" }) }
        #expect(throws: Failure(index: 2)) {
            try Parallelism.map(below: 3) { (index) throws(Failure) in
                if index == 2 { throw Failure(index: index) }
                return index
            }
        }
    }

    @Test("parts are all numbers once, one part where no thread is idle", arguments: [1, 2, 4], [1, 2, 3, 100])
    func parts(width: Int, count: Int) throws {
        Parallelism.width = width
        defer { Parallelism.width = 1 }
        for occupied in [0, 1, 2] {
            let parts = Mutex<[Range<Int>]>([])
            func work() { Parallelism.forEachPart(of: count) { part in parts.withLock { $0.append(part) } } }
            switch occupied {
            case 0: work()
            case 1: Parallelism.occupying(work)
            default: Parallelism.occupying { Parallelism.occupying(work) }
            }
            let found = parts.withLock { $0.sorted { $0.lowerBound < $1.lowerBound } }
            #expect(found.flatMap { Array($0) } == Array(0..<count))
            #expect(found.count == max(1, min(count, width - max(0, occupied - 1))))
        }
        #expect(throws: Failure(index: 0)) {
            try Parallelism.forEachPart(of: count) { (part) throws(Failure) in
                if part.lowerBound == 0 { throw Failure(index: 0) }
            }
        }
    }

    @Test("a width below 1 is 1")
    func least() {
        Parallelism.width = -3
        #expect(Parallelism.width == 1)
    }
}
