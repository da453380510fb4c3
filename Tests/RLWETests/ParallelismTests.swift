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

    @Test("a width below 1 is 1")
    func least() {
        Parallelism.width = -3
        #expect(Parallelism.width == 1)
    }
}
