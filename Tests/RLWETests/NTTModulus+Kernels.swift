import CRLWEKernels
import RLWE

/// Conversions that the library does on the way into a transform only: alone, they are what tests compare those with.
extension NTTModulus {
    /// out = the representative of `a` in (-from/2, from/2], modulo this prime.
    func reduceCentered(_ out: UnsafeMutablePointer<UInt64>, _ a: UnsafePointer<UInt64>, from: NTTModulus) {
        withUnsafePointer(to: constants) { hkms_reduce_centered(out, a, degree, from.value, $0) }
    }

    /// out = residues of small signed coefficients.
    func expandSmall(_ out: UnsafeMutablePointer<UInt64>, _ coefficients: UnsafePointer<Int8>) {
        hkms_small_expand(out, coefficients, degree, value)
    }

    /// out = residues of ternary coefficients packed two bits each.
    func expandTernary(_ out: UnsafeMutablePointer<UInt64>, _ packed: UnsafePointer<UInt8>) {
        hkms_ternary_expand(out, packed, degree, value)
    }
}
