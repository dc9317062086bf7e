// A small VST3 instrument for the tests of labkit.effects.hosts.engines, built from Debian's package dpf-source.
#pragma once

#define DISTRHO_PLUGIN_BRAND "labkit"
#define DISTRHO_PLUGIN_NAME "Reed"
#define DISTRHO_PLUGIN_URI "urn:labkit:reed"
#define DISTRHO_PLUGIN_CLAP_ID "labkit.reed"
#define DISTRHO_PLUGIN_HAS_UI 0
#define DISTRHO_PLUGIN_IS_RT_SAFE 1
#define DISTRHO_PLUGIN_IS_SYNTH 1
#define DISTRHO_PLUGIN_NUM_INPUTS 0
#define DISTRHO_PLUGIN_NUM_OUTPUTS 2
#define DISTRHO_PLUGIN_WANT_MIDI_INPUT 1
