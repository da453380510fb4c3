import Crypto
import HomomorphicEncryption
import RLWE
import SecretMemory

/// Digests by which test vectors of derivation suite 1 are compared.
extension SecretKey {
    /// SHA-256 of packed s. For published test seeds: of a real key it would be a guess-checker.
    public borrowing func testVectorDigest() -> [UInt8] {
        packed.withUnsafeBytes { Array(SHA256.hash(data: $0)) }
    }
}

extension RNSPolynomial {
    /// SHA-256 of polynomials in order, rows in order, residues as little-endian 64-bit words.
    public static func testVectorDigest(_ polynomials: [RNSPolynomial]) -> [UInt8] {
        var hash = SHA256()
        for polynomial in polynomials {
            for row in 0..<polynomial.rowCount {
                polynomial.withRow(row) { words in
                    let littleEndian = UnsafeBufferPointer(start: words, count: polynomial.degree).map(\.littleEndian)
                    littleEndian.withUnsafeBytes { hash.update(bufferPointer: $0) }
                }
            }
        }
        return Array(hash.finalize())
    }
}
