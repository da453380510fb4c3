import Attestation
import Crypto
import HomomorphicEncryption
import KeyManagement

/// HE objects of the smallest ring, N = 2^11, and its smallest primes, 14 to 17 bits: not secure, but quick to read.
///
/// The first byte of an input says what is done to the rest, because random bytes never have the digest that
/// guards everything else:
/// bit 0: the payload is brought to the length that the header asks for, and length and digest are made right;
/// bit 1: magic, version, suite, reserved bytes and parameter digest are made right, too.
enum HEObjects {
    enum Kind {
        case ciphertext, evaluationKey, publicKey
    }

    static let context: EncryptionContext = {
        do {
            return try EncryptionContext(
                EncryptionParameters(
                    scheme: .ckks, logN: 11, q: [12_289, 40_961], p: [65_537], alpha: 1,
                    security: .insecureForTestsOnly))
        } catch { fatalError("\(error)") }
    }()

    static let header = 112
    private static let mostLevels = 3

    /// Of the first rows of a polynomial; what is behind the last prime has the length of the last one.
    private static func rowBytes(_ rows: Int, special: Bool) -> Int {
        let bits = (0..<min(rows, mostLevels)).reduce(special ? 17 : 0) { $0 + ($1 == 0 ? 14 : 16) }
        return (1 << 11) * bits / 8
    }

    static func read(_ bytes: [UInt8], as kind: Kind) {
        guard let flags = bytes.first else { return }
        var object = Array(bytes.dropFirst())
        if flags & 1 != 0 { object = repaired(object, doors: flags & 2 != 0) }
        let written: [UInt8]?
        switch kind {
        case .ciphertext:
            // A seeded one is of the same type, and never both.
            let seeded = try? SeededCiphertext(serialized: object, context: context)
            let whole = try? Ciphertext(serialized: object, context: context)
            precondition(seeded == nil || whole == nil, "one object has one meaning")
            written = seeded?.serialized() ?? whole?.serialized()
        case .evaluationKey: written = (try? EvaluationKey(serialized: object, context: context))?.serialized()
        case .publicKey: written = (try? PublicKey(serialized: object, context: context))?.serialized()
        }
        precondition(written == nil || written == object, "one object has one form")
    }

    private static func repaired(_ bytes: [UInt8], doors: Bool) -> [UInt8] {
        var object = bytes + [UInt8](repeating: 0, count: max(0, header - bytes.count))
        func short(_ offset: Int) -> Int { Int(object[offset]) | Int(object[offset + 1]) << 8 }
        func put(_ new: [UInt8], at offset: Int) { object.replaceSubrange(offset..<offset + new.count, with: new) }
        let level = short(20)
        let payload: Int
        switch object[4] {
        case UInt8(ascii: "C"): payload = min(short(22), 4) * rowBytes(level, special: false)
        case UInt8(ascii: "E"): payload = min(level, mostLevels) * rowBytes(level, special: true)
        default: payload = rowBytes(2, special: false)
        }
        object = Array(object.prefix(header + payload))
        object += [UInt8](repeating: 0, count: header + payload - object.count)
        if doors {
            put(Array("HKMS".utf8), at: 0)
            put([1, 0], at: 8)
            put([1, 0, 0, 0, 0, 0, 0, 0], at: 32)
            put(context.parameterDigest, at: 48)
        }
        let total = UInt64(object.count + 32)
        put((0..<8).map { UInt8(truncatingIfNeeded: total >> UInt64(8 * $0)) }, at: 40)
        return object + Array(SHA256.hash(data: object))
    }
}

/// As for HE objects the first byte says what is done to the rest: 1 makes the length and the digest right.
func readSealedObject(_ bytes: [UInt8]) {
    guard let flags = bytes.first else { return }
    var object = Array(bytes.dropFirst())
    if flags & 1 != 0, object.count >= 20 {
        let length = object.count - 20
        for index in 0..<4 { object[16 + index] = UInt8(truncatingIfNeeded: length >> (8 * index)) }
        object += Digest(of: object).bytes
    }
    guard let sealed = try? SealedObject(parsing: object) else { return }
    precondition(sealed.serialized() == object, "one object has one form")
}

/// The first byte of an input names the collection. Rows are read behind their authentication: what is tried here is
/// what whoever has the installation's key, or an older version, may have written.
func readMetadataRow(_ bytes: [UInt8]) {
    let index = Int(bytes.first ?? 0) - Int(UInt8(ascii: "0"))
    guard StoredRow.collections.indices.contains(index) else { return }
    _ = StoredRow.rewritten(Array(bytes.dropFirst()), collection: StoredRow.collections[index])
}
