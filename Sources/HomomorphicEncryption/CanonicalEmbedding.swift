import RealModule

/// The canonical embedding of real polynomials of degree below N: slot i is the value at zeta^(3^i),
/// zeta = exp(pi*i/N), the other half of the odd powers holding the conjugates (Cheon, Kim, Kim and
/// Song, 2017, section 3.2). The order of slots is the one by which X -> X^3 rotates them by one.
///
/// Works on public or released plaintext values; not constant-time in them.
final class CanonicalEmbedding: Sendable {
    let degree: Int
    /// cos and sin of 2*pi*k/N for k below N/2: the FFT's twiddles.
    private let cosines: [Double]
    private let sines: [Double]
    /// cos and sin of pi*k/N for k below N: the twist from odd powers to a plain DFT.
    private let twistCosines: [Double]
    private let twistSines: [Double]
    /// DFT bin of slot i, and of its conjugate.
    private let bins: [Int32]
    private let bitReversal: [Int32]

    init(degree: Int) {
        self.degree = degree
        cosines = (0..<degree / 2).map { .cos(2 * .pi * Double($0) / Double(degree)) }
        sines = (0..<degree / 2).map { .sin(2 * .pi * Double($0) / Double(degree)) }
        twistCosines = (0..<degree).map { .cos(.pi * Double($0) / Double(degree)) }
        twistSines = (0..<degree).map { .sin(.pi * Double($0) / Double(degree)) }
        var power = 1
        bins = (0..<degree / 2).map { _ in
            defer { power = power * 3 & (2 * degree - 1) }
            return Int32((power - 1) / 2)
        }
        let bits = degree.trailingZeroBitCount
        bitReversal = (0..<degree).map { index in
            var reversed = 0
            for bit in 0..<bits where index >> bit & 1 == 1 { reversed |= 1 << (bits - 1 - bit) }
            return Int32(reversed)
        }
    }

    /// Coefficients of the polynomial whose slots are the given values, times `scale`; slots beyond the
    /// given ones are zero.
    /// - Parameters:
    ///   - real: at most N/2 real parts.
    ///   - imaginary: none, or as many imaginary parts.
    func coefficients(real: [Double], imaginary: [Double], scale: Double) -> [Double] {
        var re = [Double](repeating: 0, count: degree)
        var im = [Double](repeating: 0, count: degree)
        for slot in real.indices {
            let bin = Int(bins[slot])
            let y = imaginary.isEmpty ? 0 : imaginary[slot]
            re[bin] = real[slot]
            im[bin] = y
            re[degree - 1 - bin] = real[slot]
            im[degree - 1 - bin] = -y
        }
        fft(&re, &im, sign: -1)
        let factor = scale / Double(degree)
        for k in 0..<degree { re[k] = (re[k] * twistCosines[k] + im[k] * twistSines[k]) * factor }
        return re
    }

    /// The first `count` slots of a polynomial.
    func slots(_ coefficients: [Double], count: Int) -> (real: [Double], imaginary: [Double]) {
        var re = [Double](repeating: 0, count: degree)
        var im = [Double](repeating: 0, count: degree)
        for k in 0..<degree {
            re[k] = coefficients[k] * twistCosines[k]
            im[k] = coefficients[k] * twistSines[k]
        }
        fft(&re, &im, sign: 1)
        return ((0..<count).map { re[Int(bins[$0])] }, (0..<count).map { im[Int(bins[$0])] })
    }

    /// In-place DFT with exponent sign `sign`, radix 2, decimation in time.
    private func fft(_ re: inout [Double], _ im: inout [Double], sign: Double) {
        let n = degree
        re.withUnsafeMutableBufferPointer { re in
            im.withUnsafeMutableBufferPointer { im in
                for i in 0..<n {
                    let j = Int(bitReversal[i])
                    if i < j {
                        re.swapAt(i, j)
                        im.swapAt(i, j)
                    }
                }
                cosines.withUnsafeBufferPointer { cosines in
                    sines.withUnsafeBufferPointer { sines in
                        var half = 1
                        while half < n {
                            let stride = n / (2 * half)
                            for start in Swift.stride(from: 0, to: n, by: 2 * half) {
                                for k in 0..<half {
                                    let c = cosines[k * stride]
                                    let s = sign * sines[k * stride]
                                    let low = start + k
                                    let high = low + half
                                    let x = re[high] * c - im[high] * s
                                    let y = re[high] * s + im[high] * c
                                    re[high] = re[low] - x
                                    im[high] = im[low] - y
                                    re[low] += x
                                    im[low] += y
                                }
                            }
                            half *= 2
                        }
                    }
                }
            }
        }
    }
}
