/// Named CKKS parameters: what to choose when no model chooses.
///
/// The primes are listed, not searched for: they are part of a key's identity. Each prime has at most
/// 50 bits, each total modulus stands within the 2024 table for 128-bit classical security.
public struct ParameterPreset: Sendable, Hashable {
    public let name: String
    public let parameters: EncryptionParameters
    /// log2 of the scale that the rescaling primes are made for.
    public let scaleBits: Int

    /// Multiplications, one after another, that a fresh ciphertext stands.
    public var depth: Int { parameters.q.count - 1 }

    /// - Returns: nil for an unknown name.
    public static func named(_ name: String) -> ParameterPreset? { all.first { $0.name == name } }

    /// All presets, smallest ring first.
    public static let all: [ParameterPreset] = Preset.table.compactMap { preset in
        // The tests hold every entry against the checks of EncryptionParameters, so none is dropped here.
        guard
            let parameters = try? EncryptionParameters(
                scheme: .ckks, logN: preset.logN, q: preset.q, p: preset.p, alpha: preset.alpha)
        else { return nil }
        return ParameterPreset(name: preset.name, parameters: parameters, scaleBits: preset.scaleBits)
    }
}

private struct Preset {
    let name: String
    let logN: Int
    let scaleBits: Int
    let alpha: Int
    let q: [UInt64]
    let p: [UInt64]

    static let table = [
        Preset(
            name: "ckks-12", logN: 12, scaleBits: 31, alpha: 1,
            q: [
                137438822401, 2147377153,
            ],
            p: [
                274877816833
            ]),
        Preset(
            name: "ckks-13", logN: 13, scaleBits: 36, alpha: 1,
            q: [
                1125899906826241, 68719230977, 68718428161, 68718346241,
            ],
            p: [
                1125899906629633
            ]),
        Preset(
            name: "ckks-14", logN: 14, scaleBits: 40, alpha: 2,
            q: [
                1125899904679937, 1099510054913, 1099508121601, 1099507695617, 1099506515969,
                1099506352129, 1099505827841, 1099504549889,
            ],
            p: [
                1125899903991809, 1125899903827969,
            ]),
        Preset(
            name: "ckks-15", logN: 15, scaleBits: 40, alpha: 3,
            q: [
                1125899904679937, 1099510054913, 1099507695617, 1099506515969, 1099504549889,
                1099503894529, 1099503370241, 1099502714881, 1099502518273, 1099501731841,
                1099500814337, 1099500617729, 1099500421121, 1099499765761, 1099499569153,
                1099499175937, 1099498258433,
            ],
            p: [
                1125899903827969, 1125899903500289, 1125899903107073,
            ]),
        Preset(
            name: "ckks-16", logN: 16, scaleBits: 40, alpha: 8,
            q: [
                1125899903827969, 1099510054913, 1099507695617, 1099506515969, 1099504549889,
                1099503894529, 1099503370241, 1099502714881, 1099500617729, 1099499569153,
                1099499175937, 1099498258433, 1099490000897, 1099489607681, 1099488428033,
                1099486855169, 1099484889089, 1099484495873, 1099482923009, 1099480956929,
                1099479121921, 1099469684737, 1099468767233, 1099468505089, 1099467194369,
                1099465359361, 1099463786497, 1099461820417, 1099460902913, 1099460640769,
                1099457495041, 1099455004673, 1099454218241, 1099453431809,
            ],
            p: [
                1125899902124033, 1125899887312897, 1125899886395393, 1125899885740033, 1125899884167169,
                1125899884036097, 1125899883642881,
            ]),
    ]
}
