/// SplitMix64 (Steele, Lea and Flood, 2014): the same inputs in every run, so that a failure can be repeated.
public struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    public init(_ seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    public mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: 0...255, using: &self) }
    }

    public mutating func residues(_ count: Int, below bound: UInt64) -> [UInt64] {
        (0..<count).map { _ in UInt64.random(in: 0..<bound, using: &self) }
    }

    /// JSON with one to four bytes replaced, removed or put in, or a piece of it repeated.
    public mutating func mutated(_ original: [UInt8]) -> [UInt8] {
        let alphabet = Array("0123456789-\"{}[],:e. nulltrue".utf8)
        var bytes = original
        for _ in 0..<Int.random(in: 1...4, using: &self) {
            let index = Int.random(in: 0...bytes.count, using: &self)
            let end = min(bytes.count, index + Int.random(in: 1...12, using: &self))
            switch Int.random(in: 0..<5, using: &self) {
            case 0 where index < bytes.count: bytes[index] = UInt8.random(in: 0...255, using: &self)
            case 1 where index < bytes.count: bytes[index] = alphabet.randomElement(using: &self) ?? 0
            case 2: bytes.insert(alphabet.randomElement(using: &self) ?? 0, at: index)
            case 3: bytes.insert(contentsOf: Array(bytes[index..<end]), at: index)
            default: bytes.removeSubrange(index..<end)
            }
        }
        return bytes
    }
}
