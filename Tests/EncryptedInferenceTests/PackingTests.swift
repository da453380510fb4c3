import EncryptedInference
import Testing

@Suite struct PackingTests {
    @Test("slot f * batch + r is feature f of record r, repeated with the period")
    func layout() {
        let packing = Packing(width: 8, batch: 4, period: 4)
        let slots = packing.slots([[1, 2, 3], [10, 20, 30]])
        #expect(slots.count == 32)
        for feature in 0..<8 {
            for record in 0..<4 {
                let expected: Double =
                    record < 2 && feature % 4 < 3 ? Double((feature % 4 + 1) * (record == 0 ? 1 : 10)) : 0
                #expect(slots[feature * 4 + record] == expected)
            }
        }
        // A slice keeps its own indices.
        let all = [[1.0], [2], [3], [4]]
        #expect(Packing(width: 1, batch: 2, period: 1).slots(all[2..<4]) == [3, 4])
        #expect(Packing(width: 1, batch: 2, period: 1).slots([]) == [0, 0])
    }

    @Test("a rotation by batch is a rotation of every record's features")
    func rotation() {
        let packing = Packing(width: 4, batch: 2, period: 4)
        let slots = packing.slots([[1, 2, 3, 4], [5, 6, 7, 8]])
        let rotated = slots.indices.map { slots[($0 + 2) % 8] }
        #expect(rotated == packing.slots([[2, 3, 4, 1], [6, 7, 8, 5]]))
    }

    @Test("scores are the first slots")
    func scores() {
        let packing = Packing(width: 2, batch: 4, period: 2)
        let slots = (0..<8).map { Double($0) }
        #expect(packing.scores(slots, count: 3) == [0, 1, 2])
        #expect(packing.scores(slots, count: 0) == [])
        #expect(packing.scores([], count: 3) == [])
    }

    @Test("numbers that fill the slots pass")
    func valid() throws {
        for (width, batch, period) in [(1, 4096, 1), (4096, 1, 4096), (64, 64, 32), (64, 64, 1)] {
            try Packing(width: width, batch: batch, period: period).validate(slots: 4096)
        }
    }

    @Test("numbers that do not are refused")
    func invalid() {
        for (width, batch, period) in [
            (0, 4096, 1), (64, 0, 1), (64, 64, 0), (-64, -64, 1), (64, -64, 1), (48, 64, 1), (64, 64, 48),
            (64, 64, 128), (64, 32, 32), (64, 128, 32), (8192, 1, 1), (.max, 1, 1), (.min, 1, 1), (1, .max, 1),
            (64, 64, .max), (64, 64, .min), (2, .max, 1),
        ] {
            #expect(throws: InferenceError.malformedModel(reason: "its packing does not fill the slots")) {
                try Packing(width: width, batch: batch, period: period).validate(slots: 4096)
            }
        }
    }
}
