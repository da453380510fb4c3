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
        #expect(mostAtATime() > 1)
    }

    @Test("a width below 1 is 1")
    func least() {
        Parallelism.width = -3
        #expect(Parallelism.width == 1)
    }
}
