/* SPDX-License-Identifier: Apache-2.0 */
/* SMART(field of nvmf_smart, field of Mc__Smart, metric, type, help) - no
 * guard: included several times. */
SMART(critical_warning, critical_warning, "nof_segment_critical_warning", GAUGE,
      "SMART critical warning, a bit each: spare, temperature, reliability, "
      "read-only, backup, persistent memory")
SMART(temperature_k, temperature_k, "nof_segment_temperature_kelvin", GAUGE,
      "Temperature of the controller, 0 = not told")
SMART(spare_percent, spare_percent, "nof_segment_available_spare_percent",
      GAUGE, "Spare capacity that is left")
SMART(spare_threshold, spare_threshold_percent,
      "nof_segment_available_spare_threshold_percent", GAUGE,
      "Spare capacity below which the controller warns")
SMART(used_percent, used_percent, "nof_segment_percentage_used", GAUGE,
      "Wear, 100 = the life the vendor expects; may go on to 255")
SMART(written_bytes, written_bytes, "nof_segment_data_written_bytes_total",
      COUNTER, "Bytes that hosts have written to the controller")
SMART(read_bytes, read_bytes, "nof_segment_data_read_bytes_total", COUNTER,
      "Bytes that hosts have read from the controller")
SMART(media_errors, media_errors, "nof_segment_media_errors_total", COUNTER,
      "Errors of data integrity that the controller could not correct")
SMART(power_on_hours, power_on_hours, "nof_segment_power_on_hours", COUNTER,
      "Hours that the controller has run")
