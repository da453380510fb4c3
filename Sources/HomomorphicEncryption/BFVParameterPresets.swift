/// Named BFV parameters, all with the plaintext modulus 65537, which has N slots in each of these rings.
///
/// The primes are listed, not searched for: they are part of a key's identity. Each prime has at most
/// 50 bits, each total modulus stands within the 2024 table for 128-bit classical security. Another t under the same
/// primes is another parameter set: make it by ``EncryptionParameters`` and ask ``BFVCircuitProfile`` what it stands.
public struct BFVParameterPreset: Sendable, Hashable {
    public let name: String
    public let parameters: EncryptionParameters

    /// - Returns: nil for an unknown name.
    public static func named(_ name: String) -> BFVParameterPreset? { all.first { $0.name == name } }

    /// All presets, smallest ring first.
    public static let all: [BFVParameterPreset] = Preset.table.compactMap { preset in
        // The tests hold every entry against the checks of EncryptionParameters, so none is dropped here.
        guard
            let parameters = try? EncryptionParameters(
                scheme: .bfv, logN: preset.logN, q: preset.q, p: preset.p, alpha: preset.alpha, t: 65537)
        else { return nil }
        return BFVParameterPreset(name: preset.name, parameters: parameters)
    }

    /// Multiplications, one after another at the highest level, after which every decryption is right but for a
    /// probability below 2^-128.
    public var depth: Int {
        guard let context = try? EncryptionContext.shared(parameters) else { return 0 }
        var depth = 0
        while (try? BFVCircuitProfile(Array(repeating: .multiply, count: depth + 1)).check(context)) != nil {
            depth += 1
        }
        return depth
    }
}

private struct Preset {
    let name: String
    let logN: Int
    let alpha: Int
    let q: [UInt64]
    let p: [UInt64]

    static let table = [
        Preset(
            name: "bfv-12", logN: 12, alpha: 1,
            q: [
                34359697409, 34359451649,
            ],
            p: [
                68719403009
            ]),
        Preset(
            name: "bfv-13", logN: 13, alpha: 1,
            q: [
                8796092792833, 8796092661761, 8796092399617, 4398046150657,
            ],
            p: [
                8796092858369
            ]),
        Preset(
            name: "bfv-14", logN: 14, alpha: 2,
            q: [
                281474975662081, 281474975563777, 281474975367169, 281474974482433, 281474972418049,
                140737488125953, 140737487306753,
            ],
            p: [
                281474976546817, 281474976317441,
            ]),
        Preset(
            name: "bfv-15", logN: 15, alpha: 3,
            q: [
                562949951979521, 281474974482433, 281474972188673, 562949950537729, 281474971926529,
                281474971533313, 562949948833793, 281474966880257, 281474966683649, 281474962554881,
                281474961309697, 281474960392193, 281474960326657, 281474957180929, 281474956066817,
            ],
            p: [
                562949952700417, 281474976317441, 281474975662081,
            ]),
    ]
}
