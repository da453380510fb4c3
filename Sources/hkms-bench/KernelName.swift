import CRLWEKernels

/// Which of the engine's kernels run.
enum KernelName {
    static var current: String { String(cString: hkms_kernels_name()) }
}
