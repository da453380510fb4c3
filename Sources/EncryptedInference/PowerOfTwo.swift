extension Int {
    /// The least power of two that is not below `value`; 1 for what is below 1.
    static func powerOfTwo(atLeast value: Int) -> Int {
        var power = 1
        while power < value { power *= 2 }
        return power
    }
}
