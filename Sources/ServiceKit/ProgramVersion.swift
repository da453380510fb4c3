/// The version of programs and libraries of this package.
public enum ProgramVersion {
    public static let current = "0.1.0"
}
