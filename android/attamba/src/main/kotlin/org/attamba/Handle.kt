package org.attamba

import java.util.concurrent.atomic.AtomicLong

/**
 * The number that the library knows an object by. The library refuses a number that was closed, so a
 * call that races with [close] gets [AttambaException.Status.CLOSED] and does no harm.
 */
internal class Handle(number: Long, private val release: (Long) -> Unit) : AutoCloseable {
    private val number = AtomicLong(number)

    /** The number; 0, which the library refuses, once it is closed. */
    fun get(): Long = number.get()

    /** Closes it. A second time nothing happens. */
    override fun close() {
        val open = number.getAndSet(0)
        if (open != 0L) {
            release(open)
        }
    }
}
