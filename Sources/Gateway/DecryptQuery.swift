import Attestation
import HomomorphicEncryption
import Hummingbird
import KeyManagement
import ServerKit
import ServiceKit

/// What is asked of decrypted values, in the query of a decryption.
struct DecryptQuery {
    /// Slots of each ciphertext; nil for all.
    var count: Int?
    var form = ValueForm.standard
    /// What the caller relies on; nil for whatever the key set has.
    var release: ReleaseNoise?

    /// - Throws: `invalid-request`, naming the parameter.
    init(_ query: Parameters) throws(Problem) {
        if let text = query["count"] {
            guard let number = Int(text), number >= 0 else {
                throw Problem.badRequest("count is not a number", fix: "Give count=N, the slots to release.")
            }
            count = number
        }
        let (complex, unsigned) = (query["complex"] == "true", query["unsigned"] == "true")
        guard !(complex && unsigned) else {
            throw Problem.badRequest(
                "complex and unsigned are of different schemes", fix: "Give the one of the key set's scheme.")
        }
        form = complex ? .complex : unsigned ? .unsigned : .standard
        if let text = query["release"] {
            release = ReleaseNoise(rawValue: String(text))
            guard release != nil else {
                throw Problem.badRequest("release is none of flooded, raw and exact", fix: "Leave it out, or set it.")
            }
        }
    }
}
