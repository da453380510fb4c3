import TestSupport

/// Inputs for parsers: random bytes, random bytes of an alphabet, and altered good inputs.
func fuzz(_ count: Int, seeds: [[UInt8]], alphabet: String, _ body: ([UInt8]) -> Void) {
    var generator = SeededGenerator(42)
    let alphabet = Array(alphabet.utf8)
    for round in 0..<count {
        var bytes: [UInt8]
        switch round % 3 {
        case 0:
            bytes = (0..<Int.random(in: 0...96, using: &generator)).map { _ in
                UInt8.random(in: .min ... .max, using: &generator)
            }
        case 1:
            bytes = (0..<Int.random(in: 0...96, using: &generator)).map { _ in
                alphabet.randomElement(using: &generator) ?? 0
            }
        default:
            bytes = seeds.randomElement(using: &generator) ?? []
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let index = Int.random(in: 0...bytes.count, using: &generator)
                switch Int.random(in: 0..<4, using: &generator) {
                case 0 where index < bytes.count: bytes[index] = UInt8.random(in: .min ... .max, using: &generator)
                case 1 where index < bytes.count: bytes.remove(at: index)
                case 2: bytes.insert(alphabet.randomElement(using: &generator) ?? 0, at: index)
                default: bytes.removeSubrange(index..<min(bytes.count, index + 5))
                }
            }
        }
        body(bytes)
    }
}

func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
