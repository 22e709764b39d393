-- Comments in a discussion are triggers.
alter type trigger_source add value 'comment';
