import CRLWEKernels
import RealModule

/// The canonical embedding of real polynomials of degree below N: slot i is the value at zeta^(3^i),
/// zeta = exp(pi*i/N), the other half of the odd powers holding the conjugates (Cheon, Kim, Kim and
/// Song, 2017, section 3.2). The order of slots is the one by which X -> X^3 rotates them by one.
///
/// A DFT of N/2 points: at the powers that are 1 modulo 4, X^(N/2) is i, so that a real polynomial is there the complex
/// one of half the degree with coefficients a_k + i a_(k + N/2).
///
/// Works on public or released plaintext values; not constant-time in them. The same bits on every machine: no fused
/// multiplications, no other order of sums.
final class CanonicalEmbedding: Sendable {
    let degree: Int
    private let tables: Tables

    init(degree: Int) {
        self.degree = degree
        tables = Tables(degree: degree)
    }

    /// Writes the coefficients of the polynomial whose slots are the given values, times `scale`; slots beyond the
    /// given ones are zero.
    /// - Parameters:
    ///   - real: at most N/2 real parts.
    ///   - imaginary: none, or as many imaginary parts.
    ///   - out: N numbers.
    func coefficients(
        real: UnsafeBufferPointer<Double>, imaginary: UnsafeBufferPointer<Double>, scale: Double,
        into out: UnsafeMutablePointer<Double>
    ) {
        let half = degree / 2
        let (re, im) = (out, out + half)
        out.update(repeating: 0, count: degree)
        for slot in real.indices { re[Int(tables.positions[slot])] = real[slot] }
        for slot in imaginary.indices {
            im[Int(tables.positions[slot])] = slot & 1 == 0 ? imaginary[slot] : -imaginary[slot]
        }
        // The other sign of the exponent, in the transform and in the twist.
        hkms_dft_from_reversed(im, re, half, tables.cosines, tables.sines)
        hkms_twist(im, re, half, tables.twistCosines, tables.twistSines, scale / Double(half))
    }

    /// The first `count` slots of a polynomial.
    /// - Parameter coefficients: N numbers, which are overwritten.
    func slots(_ coefficients: UnsafeMutablePointer<Double>, count: Int, factor: Double) -> (
        real: [Double], imaginary: [Double]
    ) {
        let half = degree / 2
        let (re, im) = (coefficients, coefficients + half)
        hkms_twist(re, im, half, tables.twistCosines, tables.twistSines, factor)
        hkms_dft_to_reversed(re, im, half, tables.cosines, tables.sines)
        let positions = tables.positions
        return (
            (0..<count).map { re[Int(positions[$0])] },
            (0..<count).map { $0 & 1 == 0 ? im[Int(positions[$0])] : -im[Int(positions[$0])] }
        )
    }

    private final class Tables: @unchecked Sendable {
        // Sendable: written in init alone.
        /// cos and sin of pi*k/h at h + k, for k below h, h = 1, 2, 4 ... N/4.
        let cosines: UnsafeMutablePointer<Double>
        let sines: UnsafeMutablePointer<Double>
        /// cos and sin of pi*k/N for k below N/2: the twist from powers that are 1 modulo 4 to a plain DFT.
        let twistCosines: UnsafeMutablePointer<Double>
        let twistSines: UnsafeMutablePointer<Double>
        /// Where the transform, in bit-reversed order, has slot i, or its conjugate where i is odd: 3^i is 3 modulo 4
        /// there, and its negative is 1.
        let positions: UnsafeMutablePointer<Int32>

        init(degree: Int) {
            let half = degree / 2
            cosines = .allocate(capacity: half)
            sines = .allocate(capacity: half)
            twistCosines = .allocate(capacity: half)
            twistSines = .allocate(capacity: half)
            positions = .allocate(capacity: half)
            cosines[0] = 1
            sines[0] = 0
            var span = 1
            while span < half {
                for k in 0..<span {
                    cosines[span + k] = .cos(.pi * Double(k) / Double(span))
                    sines[span + k] = .sin(.pi * Double(k) / Double(span))
                }
                span *= 2
            }
            for k in 0..<half {
                twistCosines[k] = .cos(.pi * Double(k) / Double(degree))
                twistSines[k] = .sin(.pi * Double(k) / Double(degree))
            }
            let bits = half.trailingZeroBitCount
            var power = 1
            for slot in 0..<half {
                let bin = ((slot & 1 == 0 ? power : 2 * degree - power) - 1) / 4
                var reversed = 0
                for bit in 0..<bits where bin >> bit & 1 == 1 { reversed |= 1 << (bits - 1 - bit) }
                positions[slot] = Int32(reversed)
                power = power * 3 & (2 * degree - 1)
            }
        }

        deinit {
            for table in [cosines, sines, twistCosines, twistSines] { table.deallocate() }
            positions.deallocate()
        }
    }
}
