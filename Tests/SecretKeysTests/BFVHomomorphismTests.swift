import CRLWEKernels
import HomomorphicEncryption
import RLWE
import SecretKeys
import SecretMemory
import TestSupport
import Testing

/// Every BFV operation against integers modulo t.
@Suite(.serialized) struct BFVHomomorphismTests {
    static let presets = BFVParameterPreset.all.map(\.name)

    @Test("presets stand: primes of at most 50 bits, every key within the 2024 table, t with N slots")
    func parameters() throws {
        #expect(BFVParameterPreset.all.map(\.name) == ["bfv-12", "bfv-13", "bfv-14", "bfv-15"])
        #expect(BFVParameterPreset.all.map(\.depth) == [1, 4, 9, 20])
        for preset in BFVParameterPreset.all {
            let parameters = preset.parameters
            #expect((parameters.q + parameters.p).allSatisfy { $0 < 1 << 50 })
            #expect(parameters.maximumEvaluationKeyLevel == parameters.q.count)
            #expect(BFVEncoder.batchingModulus(degree: parameters.degree) == parameters.t)
        }
    }

    @Test("decryption undoes encryption, at the highest and the lowest level", arguments: presets)
    func roundTrip(preset: String) throws {
        let bench = try BFVBench(preset)
        let half = bench.t / 2
        var values = bench.random(1)
        values.replaceSubrange(0..<6, with: [0, 1, -1, half, -half, half - 1])
        for values in [values, [], [Int64](repeating: half, count: values.count)] {
            let expected = values + [Int64](repeating: 0, count: bench.encoder.slotCount - values.count)
            for level in [1, bench.context.maximumLevel] {
                #expect(try bench.decrypt(bench.encrypt(values, level: level)) == expected)
                #expect(try bench.decrypt(bench.encryptSymmetric(values, level: level)) == expected)
            }
        }
    }

    @Test("every operation does to slots what its name says", arguments: presets)
    func operations(preset: String) throws {
        let bench = try BFVBench(preset, rotations: [1, -3, 64], columns: true)
        let evaluator = bench.evaluator
        let (x, y) = (bench.random(1), bench.random(2))
        let (cx, cy) = (try bench.encrypt(x), try bench.encrypt(y))
        let py = try bench.encoder.encode(y)
        func check(_ ciphertext: Ciphertext, _ expected: [Int64], _ name: Comment) throws {
            #expect(try bench.decrypt(ciphertext) == expected, name)
        }
        try check(evaluator.add(cx, cy), bench.sum(x, y), "add")
        try check(evaluator.subtract(cx, cy), bench.difference(x, y), "subtract")
        try check(evaluator.negate(cx), x.map { -$0 }, "negate")
        try check(evaluator.add(cx, py), bench.sum(x, y), "add plaintext")
        try check(evaluator.subtract(cx, py), bench.difference(x, y), "subtract plaintext")
        try check(evaluator.multiply(cx, py), bench.product(x, y), "multiply plaintext")
        let product = try evaluator.multiplyWithoutRelinearization(cx, cy)
        try check(product, bench.product(x, y), "three polynomials")
        try check(evaluator.add(product, cx), bench.sum(bench.product(x, y), x), "three and two polynomials")
        try check(evaluator.multiply(cx, cy, keys: bench.keys), bench.product(x, y), "multiply")
        let square = try evaluator.square(cx, keys: bench.keys)
        try check(square, bench.product(x, x), "square")
        #expect(try square.serialized() == evaluator.multiply(cx, cx, keys: bench.keys).serialized())
        for steps in [1, -3, 64] {
            let image = try evaluator.rotateRows(cx, by: steps, keys: bench.keys)
            try check(image, bench.rotated(x, by: steps), "rotate by \(steps)")
        }
        let hoisted = try evaluator.rotateRows(cx, bySteps: [64, 0, 1], keys: bench.keys)
        #expect(try hoisted[0].serialized() == evaluator.rotateRows(cx, by: 64, keys: bench.keys).serialized())
        #expect(hoisted[1].serialized() == cx.serialized())
        try check(hoisted[2], bench.rotated(x, by: 1), "hoisted")
        try check(evaluator.rotateColumns(cx, keys: bench.keys), bench.swapped(x), "rotate columns")
        // At every level, with keys of the highest.
        for level in 1..<bench.context.maximumLevel {
            let dropped = try evaluator.dropLevel(cx, to: level)
            #expect(dropped.level == level)
            try check(dropped, x, "drop")
            guard level > 1, bench.context.degree < 1 << 15 || level % 4 == 2 else { continue }
            try check(evaluator.rotateRows(dropped, by: 1, keys: bench.keys), bench.rotated(x, by: 1), "rotate low")
            try check(
                evaluator.multiply(dropped, evaluator.dropLevel(cy, to: level), keys: bench.keys),
                bench.product(x, y), "multiply at level \(level)")
        }
    }

    @Test("every rotation there is, in a small ring and by its powers of two in the others")
    func rotations() throws {
        let small = try BFVBench(BFVBench.small([40, 40, 41]), rotations: Array(1..<1024), columns: true)
        let x = small.random(5)
        let cx = try small.encrypt(x)
        let images = try small.evaluator.rotateRows(cx, bySteps: Array(1..<1024), keys: small.keys)
        for (steps, image) in zip(1..<1024, images) {
            #expect(try small.decrypt(image) == small.rotated(x, by: steps), "\(steps) steps")
        }
        for preset in Self.presets {
            let columns = try BFVEncoder(EncryptionContext(#require(BFVParameterPreset.named(preset)).parameters))
                .columnCount
            let steps = sequence(first: 1) { $0 < columns / 2 ? 2 * $0 : nil }.map { $0 }
            // Keys of the lowest level that stands a rotation, for they are many.
            let parameters = try #require(BFVParameterPreset.named(preset)).parameters
            let bench = try BFVBench(parameters, rotations: steps, level: 2)
            let x = bench.random(6)
            let cx = try bench.encrypt(x, level: 2)
            for steps in steps {
                let image = try bench.evaluator.rotateRows(cx, by: steps - columns, keys: bench.keys)
                #expect(try bench.decrypt(image) == bench.rotated(x, by: steps), "\(preset), \(steps) steps")
            }
        }
    }

    @Test("other plaintext moduli, short and long, and other lengths of primes")
    func moduli() throws {
        let long = Primes.nttPrimes(bits: 60, degree: 1 << 11, count: 1)[0]
        let middle = Primes.nttPrimes(bits: 33, degree: 1 << 11, count: 1)[0]
        let cases: [(t: UInt64, bits: [Int])] = [
            (12289, [36, 30, 36]), (middle, [50, 50, 50, 50]), (middle, [30, 30, 30, 30, 30, 30]),
            (long, [60, 60, 60, 60, 60]), (long, [45, 45, 45, 45, 45, 45]),
        ]
        for (t, bits) in cases {
            let bench = try BFVBench(BFVBench.small(bits, t: t), rotations: [1])
            let (x, y) = (bench.random(t), bench.random(t + 1))
            let (cx, cy) = (try bench.encrypt(x), try bench.encrypt(y))
            #expect(try bench.decrypt(bench.evaluator.add(cx, bench.encoder.encode(y))) == bench.sum(x, y))
            #expect(try bench.decrypt(bench.evaluator.multiply(cx, bench.encoder.encode(y))) == bench.product(x, y))
            let product = try bench.evaluator.multiply(cx, cy, keys: bench.keys)
            #expect(try bench.decrypt(product) == bench.product(x, y), "t = \(t)")
            let image = try bench.evaluator.rotateRows(cx, by: 1, keys: bench.keys)
            #expect(try bench.decrypt(image) == bench.rotated(x, by: 1))
        }
    }

    @Test("what does not fit together is named")
    func mismatches() throws {
        let bench = try BFVBench("bfv-12", rotations: [1])
        let other = try BFVBench("bfv-13")
        let (evaluator, x) = (bench.evaluator, bench.random(1))
        let cx = try bench.encrypt(x)
        let lower = try evaluator.dropLevel(cx, to: 1)
        let strange = try other.encrypt([1])
        #expect(throws: HEError.levelMismatch(2, 1)) { try evaluator.add(cx, lower) }
        #expect(throws: HEError.levelMismatch(2, 1)) { try evaluator.multiply(cx, lower, keys: bench.keys) }
        #expect(throws: HEError.parameterMismatch) { try evaluator.add(cx, strange) }
        #expect(throws: HEError.parameterMismatch) { try evaluator.multiply(cx, strange, keys: bench.keys) }
        #expect(throws: HEError.parameterMismatch) { try evaluator.add(cx, other.encoder.encode([1])) }
        #expect(throws: HEError.parameterMismatch) { try evaluator.multiply(cx, other.encoder.encode([1])) }
        #expect(throws: HEError.parameterMismatch) { try bench.publicKey.encrypt(other.encoder.encode([1])) }
        #expect(throws: HEError.parameterMismatch) { try bench.decrypt(strange) }
        #expect(throws: HEError.missingGaloisKey(element: 9, steps: 2)) {
            try evaluator.rotateRows(cx, by: 2, keys: bench.keys)
        }
        #expect(throws: HEError.missingGaloisKey(element: 8191, steps: nil)) {
            try evaluator.rotateColumns(cx, keys: bench.keys)
        }
        #expect(throws: HEError.missingRelinearizationKey) {
            try evaluator.multiply(cx, cx, keys: EvaluationKeySet())
        }
        let three = try evaluator.multiplyWithoutRelinearization(cx, cx)
        let two = HEError.unexpectedPolynomialCount(3, expected: "2: relinearize first")
        #expect(throws: two) { try evaluator.multiply(three, cx, keys: bench.keys) }
        #expect(throws: two) { try evaluator.square(three, keys: bench.keys) }
        #expect(throws: two) { try evaluator.rotateRows(three, by: 1, keys: bench.keys) }
        #expect(throws: two) { try evaluator.rotateColumns(three, keys: bench.keys) }
        for level in [-1, 0, 3] {
            #expect(throws: HEError.invalidLevel(level, maximum: 2)) { try bench.encrypt(x, level: level) }
            #expect(throws: HEError.invalidLevel(level, maximum: 2)) { try bench.encryptSymmetric(x, level: level) }
            #expect(throws: HEError.invalidLevel(level, maximum: 2)) { try evaluator.dropLevel(cx, to: level) }
        }
        #expect(throws: HEError.invalidScale(2)) {
            try Ciphertext(context: bench.context, polynomials: cx.polynomials, scale: 2)
        }
        // A level too short for its t is refused before anything is encrypted.
        let narrow = try BFVBench(BFVBench.small([24, 40, 40]))
        #expect(throws: HEError.decryptionMayFail(noiseBits: 12, limitBits: 6)) { try narrow.encrypt([1], level: 1) }
        #expect(try narrow.decrypt(narrow.encrypt([1]))[0] == 1)
    }

    @Test("the two schemes do not take each other's objects")
    func schemes() throws {
        let bench = try BFVBench("bfv-12")
        let ckks = try Scheme1("ckks-12")
        let (mine, theirs) = (try bench.encrypt([1]), try ckks.encrypt(ckks.values(1)))
        let needsCKKS = HEError.invalidParameters(reason: "these are BFV parameters; this needs CKKS ones")
        let needsBFV = HEError.invalidParameters(reason: "these are CKKS parameters; this needs BFV ones")
        #expect(throws: needsBFV) { try BFVEncoder(ckks.context) }
        #expect(throws: needsBFV) { try BFVEvaluator(ckks.context) }
        #expect(throws: needsBFV) { try BFVNoiseBound.publicKeyEncryption(ckks.context) }
        #expect(throws: needsBFV) { try ckks.publicKey.encrypt(bench.encoder.encode([1])) }
        #expect(throws: needsCKKS) { try CKKSEvaluator(bench.context).add(mine, mine) }
        #expect(throws: needsCKKS) { try bench.publicKey.encrypt(ckks.encoder.encode([1], scale: 2)) }
        #expect(throws: HEError.parameterMismatch) { try bench.evaluator.add(mine, theirs) }
        #expect(throws: HEError.parameterMismatch) { try ckks.evaluator.add(theirs, mine) }
        let seed = try Scheme1.seed([UInt8](repeating: 3, count: 32))
        #expect(throws: needsCKKS) { try seed.secretKey(bench.context).decryptRaw(mine) }
        #expect(throws: needsBFV) { try seed.secretKey(ckks.context).decryptBFV(theirs) }
    }

    @Test("a switching key moves ciphertexts to the new secret")
    func switching() throws {
        let bench = try BFVBench("bfv-13")
        let oldSeed = try Scheme1.seed([UInt8](repeating: 1, count: 32))
        let newSeed = try Scheme1.seed([UInt8](repeating: 2, count: 32))
        let old = try oldSeed.secretKey(bench.context)
        let new = try newSeed.secretKey(bench.context)
        let key = try newSeed.switchingKey(EvaluationKeyID(kind: .switching, level: 4), from: old, to: new)
        let x = bench.random(8)
        let switched = try bench.evaluator.switchSecret(
            oldSeed.publicKey(old).encrypt(bench.encoder.encode(x)), with: key)
        #expect(try bench.encoder.decode(new.decryptBFV(switched)) == x)
        #expect(try bench.encoder.decode(old.decryptBFV(switched)) != x)
    }

    @Test("the same bits by either set of kernels and any number of threads", arguments: ["bfv-12", "bfv-14"])
    func determinism(preset: String) throws {
        let first = try BFVBench(preset, rotations: [1])
        let (x, y) = (first.random(1), first.random(2))
        let (cx, cy) = (try first.encrypt(x).serialized(), try first.encrypt(y).serialized())
        func everything() throws -> [[UInt8]] {
            let bench = try BFVBench(preset, rotations: [1])
            let (cx, cy) = (
                try Ciphertext(serialized: cx, context: bench.context),
                try Ciphertext(serialized: cy, context: bench.context)
            )
            let (evaluator, plaintext) = (bench.evaluator, try bench.encoder.encode(x))
            let product = try evaluator.multiply(cx, cy, keys: bench.keys)
            #expect(try bench.decrypt(product) == bench.product(x, y))
            return [
                bench.publicKey.serialized(), product.serialized(),
                try evaluator.square(cx, keys: bench.keys).serialized(),
                try evaluator.rotateRows(cx, by: 1, keys: bench.keys).serialized(),
                try evaluator.dropLevel(product, to: 1).serialized(), try evaluator.add(cx, plaintext).serialized(),
                try evaluator.multiply(cx, plaintext).serialized(),
            ]
        }
        let best = try everything()
        defer {
            Parallelism.width = 1
            hkms_kernels_select(0)
        }
        for width in [2, 8] {
            Parallelism.width = width
            #expect(try everything() == best, "width \(width)")
        }
        Parallelism.width = 1
        hkms_kernels_select(1)
        #expect(try everything() == best, "portable")
    }
}
