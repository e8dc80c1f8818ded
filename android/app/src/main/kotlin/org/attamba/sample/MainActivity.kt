package org.attamba.sample

import android.os.Bundle
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.view.ViewGroup.LayoutParams.WRAP_CONTENT
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.viewModels
import androidx.lifecycle.lifecycleScope
import kotlinx.coroutines.launch

/** A chat with the model in the assets: only a view of [Chat], which outlives it. */
class MainActivity : ComponentActivity() {
    private val model: ChatModel by viewModels()
    private lateinit var log: TextView
    private lateinit var input: EditText
    private lateinit var button: Button

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        setContentView(view())
        lifecycleScope.launch { model.chat.state.collect(::show) }
    }

    override fun onStart() {
        super.onStart()
        model.chat.come()
    }

    override fun onStop() {
        super.onStop()
        if (!isChangingConfigurations) {
            model.chat.leave()
        }
    }

    private fun show(state: Chat.State) {
        val loading = state.loading?.let { listOf(getString(R.string.loading, (100 * it).toInt())) }
        val messages = state.messages.map { (role, text) -> "$role: $text" }
        log.text =
            (loading.orEmpty() + messages + listOfNotNull(state.failure)).joinToString("\n\n")
        button.isEnabled = state.loading == null
        button.setText(if (state.answering) R.string.stop else R.string.send)
    }

    private fun press() {
        if (model.chat.state.value.answering) {
            model.chat.stop()
            return
        }
        val message = input.text.toString().ifBlank { return }
        input.text.clear()
        model.chat.send(message)
    }

    private fun view(): LinearLayout {
        log = TextView(this).apply { setTextIsSelectable(true) }
        input = EditText(this).apply { setHint(R.string.hint) }
        button = Button(this).apply { setOnClickListener { press() } }
        val row =
            LinearLayout(this).apply {
                addView(input, LinearLayout.LayoutParams(0, WRAP_CONTENT, 1f))
                addView(button)
            }
        return LinearLayout(this).apply {
            orientation = LinearLayout.VERTICAL
            fitsSystemWindows = true
            setPadding(24, 24, 24, 24)
            addView(
                ScrollView(this@MainActivity).apply { addView(log) },
                LinearLayout.LayoutParams(MATCH_PARENT, 0, 1f),
            )
            addView(row)
        }
    }
}
