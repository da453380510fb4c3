import LocalFiles

#if canImport(Darwin)
    import Darwin
#elseif canImport(Musl)
    import Musl
#else
    import Glibc
#endif

extension SystemError {
    /// What went wrong in the object store and what mends it.
    var reason: String {
        switch code {
        case ENOSPC, EDQUOT:
            "no space left on the device that holds the object store; free some or add more"
        case EFBIG:
            "the object is larger than the system lets a file be; raise the limit (ulimit -f)"
        case EROFS:
            "the file system is read-only; mount it for writing"
        case EACCES, EPERM:
            "no permission; the directory and all below must belong to the user who runs this, mode 0700"
        case EMFILE, ENFILE:
            "too many open files; raise the limit (ulimit -n)"
        case EIO:
            "input/output error; check the device and the system's log"
        case ENAMETOOLONG:
            "a segment of the key is longer than a file name can be (255 bytes)"
        case EXDEV:
            "another file system is mounted inside the object store; it must be one file system"
        case ELOOP:
            "a symbolic link stands where an object or directory belongs; remove it"
        case ENOTDIR:
            "something that is no directory stands where a directory belongs; remove it"
        case ENOENT:
            "its directory is gone; mount its volume, or restart to begin an empty store"
        case EISDIR, ENOTEMPTY:
            "the key is also the directory of other objects; choose keys of which none is a folder of another"
        default:
            description
        }
    }
}
