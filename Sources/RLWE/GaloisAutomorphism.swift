import CRLWEKernels
import Synchronization

/// X -> X^g on polynomials in the NTT domain: a permutation of positions.
public final class GaloisAutomorphism: Sendable {
    /// g, odd, 1..<2N.
    public let element: Int
    public let degree: Int
    private let source: [UInt32]

    /// - Parameters:
    ///   - element: odd, 1..<2 * degree.
    ///   - degree: a power of two.
    public init(element: Int, degree: Int) {
        precondition(element & 1 == 1 && element > 0 && element < 2 * degree, "an odd element below 2N")
        self.element = element
        self.degree = degree
        // Position j holds the value at psi^e, e = 2 * bitrev(j) + 1; the image's value there is the
        // original's at psi^(g*e).
        let shift = UInt64(UInt64.bitWidth - degree.trailingZeroBitCount)
        func reverse(_ index: Int) -> Int { Int(UInt64(index).bitSwapped >> shift) }
        source = (0..<degree).map { position in
            let exponent = (element * (2 * reverse(position) + 1)) & (2 * degree - 1)
            return UInt32(reverse((exponent - 1) / 2))
        }
    }

    /// out = the image of the N values at `values`.
    public func permute(_ out: UnsafeMutablePointer<UInt64>, _ values: UnsafePointer<UInt64>) {
        source.withUnsafeBufferPointer { hkms_permute(out, values, $0.baseAddress, degree) }
    }

    /// 3^steps modulo 2N for a rotation to the left by `steps` slots; negative steps rotate right.
    public static func element(rotatingBy steps: Int, degree: Int) -> Int {
        let slots = degree / 2
        var exponent = ((steps % slots) + slots) % slots
        var (element, power) = (1, 3)
        while exponent > 0 {
            if exponent & 1 == 1 { element = (element * power) & (2 * degree - 1) }
            power = (power * power) & (2 * degree - 1)
            exponent >>= 1
        }
        return element
    }

    private static let cache = Mutex<[UInt64: GaloisAutomorphism]>([:])

    /// The automorphism from a process-wide table of those already made.
    public static func shared(element: Int, degree: Int) -> GaloisAutomorphism {
        let key = UInt64(degree) << 32 | UInt64(element)
        return cache.withLock { table in
            if let known = table[key] { return known }
            // A bound for callers that ask for every element of a ring.
            if table.count >= 256 { table.removeAll() }
            let made = GaloisAutomorphism(element: element, degree: degree)
            table[key] = made
            return made
        }
    }
}
