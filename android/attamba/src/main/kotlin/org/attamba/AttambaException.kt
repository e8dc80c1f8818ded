package org.attamba

/** Thrown when a library call fails. */
public class AttambaException(
    /** The numeric status from `attamba.h`; [status] is the named one. */
    public val code: Int,
    message: String,
) : Exception(message) {
    /** Called by the JNI shim, with the message in UTF-8. */
    internal constructor(code: Int, utf8: ByteArray) : this(code, String(utf8, Charsets.UTF_8))

    /** The status; see `attamba.h` for its meaning. */
    public val status: Status
        get() = Status.entries.find { it.code == code } ?: Status.INTERNAL

    /** The statuses of `attamba.h`. */
    public enum class Status(internal val code: Int) {
        ARGUMENT(1),
        CLOSED(2),
        BUSY(3),
        STATE(4),
        IO(5),
        FILE(6),
        UNSUPPORTED(7),
        TEXT(8),
        BUDGET(9),
        SAVED(10),
        MEMORY(11),
        CANCELLED(12),
        PAUSED(13),
        DEVICE(14),
        INTERNAL(15),
    }
}
